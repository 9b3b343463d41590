"""On a member: takes every session that the server has, and each that becomes free, until it is killed."""

import threading
import time

import psycopg2

held = []


def take():
    while True:
        try:
            held.append(psycopg2.connect(host='/var/run/postgresql', dbname='postgres'))
        except psycopg2.OperationalError:
            time.sleep(0.01)


for _ in range(4):
    threading.Thread(target=take).start()
