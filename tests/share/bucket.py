"""A server of S3 in this process that knows who may use it, and notes what it hands out.

It is moto's, behind a check of the access key: moto itself believes everybody.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

KEY_ID, SECRET = "AKIATEAM", "a-secret-of-the-team"
_FORBIDDEN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidAccessKeyId</Code>'
    b"<Message>The AWS Access Key Id you provided does not exist in our records.</Message></Error>"
)


@dataclass
class Bucket:
    """One bucket, `s3://NAME`, of the server at `url`."""

    name: str
    app: "WSGIApplication"
    url: str = ""
    stored: dict[str, int] = field(default_factory=dict)
    """The size of every object that was sent to the bucket, by its key."""
    handed_out: dict[str, int] = field(default_factory=dict)
    """The size of every object that was asked of the bucket, by its key."""

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].partition(f"{self.name}/")[2]
        if f"Credential={KEY_ID}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(_FORBIDDEN)))]
            start_response("403 Forbidden", headers)
            return [] if method == "HEAD" else [_FORBIDDEN]
        if method == "PUT" and key:
            self.stored[key] = int(environ["CONTENT_LENGTH"])
        elif method == "GET" and key:
            self.handed_out[key] = self.stored[key]
        return self.app(environ, start_response)


class _Silent(WSGIRequestHandler):
    """Prints no line for each request."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve_bucket(name: str) -> Iterator[Bucket]:
    """Serve one empty bucket."""
    bucket = Bucket(name, DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, bucket, threaded=True, request_handler=_Silent)
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        credential = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/us-east-1/s3/aws4_request"
        # First, what an earlier server of this process was sent is forgotten.
        for method, path in {"POST": "moto-api/reset", "PUT": name}.items():
            request = Request(f"{bucket.url}/{path}", method=method)
            request.add_header("Authorization", credential)
            urlopen(request).close()
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
