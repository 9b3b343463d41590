"""Runs a command on a terminal of its own and keeps what it showed: the node's end of docs/screens/run.

  python3 frames.py SECONDS COMMAND…     a JSON line for each frame that differs: {"at": seconds, "lines": […]}

The terminal has 100 columns and 30 rows. A frame begins where the command goes to the top left corner; colours are left
out. Exit 1 when the command did not leave the terminal as it found it.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

COLUMNS, ROWS = 100, 30
HOME, LEAVE = '\x1b[H', '\x1b[?25h\x1b[?1049l'


def lines(frame):
    """The rows of one frame, as a terminal shows them."""
    text = re.sub(r'\x1b\[[0-9;]*m', '', frame).split('\x1b[J')[0]
    # The terminal's driver adds a return of its own to each.
    rows = [row.replace('\x1b[K', '') for row in text.replace('\r', '').split('\n')]
    assert len(rows) <= ROWS and all(len(row) <= COLUMNS for row in rows), rows
    assert not any('\x1b' in row for row in rows), rows
    return rows


def main():
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ['TERM'] = 'xterm'
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', ROWS, COLUMNS, 0, 0))
    began, told, data, last = time.monotonic(), False, '', None
    while True:
        if time.monotonic() - began > seconds and not told:
            os.kill(pid, signal.SIGINT)
            told = True
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536).decode()
        except OSError:
            break
        if not piece:
            break
        # What is behind the last HOME may not be complete yet.
        *whole, data = (data + piece).split(HOME)
        for frame in filter(None, whole):
            if '\x1b[J' in frame and (rows := lines(frame)) != last:
                last = rows
                print(json.dumps({'at': round(time.monotonic() - began, 1), 'lines': rows}), flush=True)
    _, status = os.waitpid(pid, 0)
    good = os.waitstatus_to_exitcode(status) == 0 and data.endswith(LEAVE)
    sys.exit(0 if good else f'it ended with {status} and left {data[-60:]!r}')


main()
