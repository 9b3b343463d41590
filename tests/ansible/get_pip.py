"""Stands where ansible-test expects the get-pip script that it would download: Python's own ensurepip does its work.

The version of pip that ansible-test names is not installed over it: what pip installs is pinned all the same.
"""

import subprocess
import sys

subprocess.run([sys.executable, '-m', 'ensurepip', '--default-pip'], check=True, stdout=subprocess.DEVNULL)
