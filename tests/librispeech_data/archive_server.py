"""A web server of archives on this machine that can be slow, cut off or ignorant."""

import contextlib
import http.server
import threading
import time


class Server:
    """Serves bytes by file name.

    Attributes:
      files: name -> bytes.
      url: of the folder.
      starts: name -> the bytes from which it was asked for, in order.
      cut_after: bytes after which an answer ends early; None lets it end well.
      knows_ranges: whether it obeys the header Range.
      pause: seconds between blocks of 1,000 bytes.
    """

    def __init__(self, files):
        self.files = files
        self.url = ""
        self.starts = {}
        self.cut_after = None
        self.knows_ranges = True
        self.pause = 0.0

    def answer(self, request):
        name = request.path.rpartition("/")[2]
        asked = request.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.starts.setdefault(name, []).append(start)
        if name not in self.files:
            request.send_error(404)
            return
        whole = self.files[name]
        data = whole[start:] if self.knows_ranges else whole
        request.send_response(206 if self.knows_ranges and start else 200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        for first in range(0, len(data[: self.cut_after]), 1_000):
            request.wfile.write(
                data[first : min(first + 1_000, self.cut_after or len(data))]
            )
            time.sleep(self.pause)


@contextlib.contextmanager
def running(files):
    """Gives a server that runs."""
    server = Server(files)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the library's name
            with contextlib.suppress(OSError):
                server.answer(self)

        def log_message(self, *arguments):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_port}/resources/12"
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
