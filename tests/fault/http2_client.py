"""A client that speaks just enough HTTP/2 by hand to be slow, to lie about lengths and to read nothing."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(method):
    """HPACK literals without indexing."""
    fields = ((":method", "POST"), (":scheme", "http"), (":path", f"/imagesearch.v1.{method}"), (":authority", "x"),
              ("te", "trailers"), ("content-type", "application/grpc"))
    return b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
                    for name, value in fields)


class Connection:
    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.next_stream = 1

    def begin(self, method, length):
        """A call whose message is said to have `length` bytes; its stream."""
        stream = self.next_stream
        self.next_stream += 2
        self.socket.sendall(frame(HEADERS, END_HEADERS, stream, headers(method))
                            + frame(DATA, 0, stream, struct.pack(">BI", 0, length)))
        return stream

    def send(self, stream, data, end=False):
        self.socket.sendall(frame(DATA, END_STREAM if end else 0, stream, data))

    def call(self, method, message):
        """A whole call; its answer is not read."""
        self.send(self.begin(method, len(message)), message, end=True)

    def closed_within(self, seconds):
        """Whether the server ends the connection in time; reads what it says before."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except socket.timeout:
            return False
        except OSError:
            return True

    def close(self):
        self.socket.close()
