"""Asks the application, by its socket, as nginx does."""

import http.client
import socket
import time


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        while self.sock.connect_ex("/tmp/shmemext-app.socket"):
            time.sleep(0.1)  # gunicorn is not ready yet


def ask(path):
    connection = Connection("localhost", timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    print(answer.read().decode())
    return answer.headers["Worker"]


workers = {ask("/") for _ in range(6)}
print("by more workers than two:", len(workers) > 2)
try:
    ask("/crash")
except ConnectionError:
    print("no answer: its worker was killed")
ask("/")
ask("/")
