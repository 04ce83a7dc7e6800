"""Simulates STS GetCallerIdentity."""

# The query protocol: a form as request, XML as response [botocore service model sts/2011-06-15].

from __future__ import annotations

from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from asyncgg.simulator.wire import Request, Response

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_HEADERS = {"Content-Type": "text/xml"}


def is_identity_request(request: Request) -> bool:
    """Check if the form or the query of a request is a GetCallerIdentity."""
    form = request.body.decode("ascii", "replace") if request.method == "POST" else request.query
    return dict(parse_qsl(form)).get("Action") == "GetCallerIdentity"


def identity_response(account: str, access_key: str, request_id: str) -> Response:
    """Build the response for a simulated user of `account`."""
    result = (
        f"<Arn>arn:aws:iam::{account}:user/simulated</Arn>"
        f"<UserId>{escape(access_key)}</UserId><Account>{account}</Account>"
    )
    body = (
        f'<GetCallerIdentityResponse xmlns="{_NAMESPACE}"><GetCallerIdentityResult>{result}</GetCallerIdentityResult>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    return Response(200, body.encode(), _HEADERS)


def sts_error(status: int, code: str, message: str, request_id: str) -> Response:
    """Build an error of the query protocol, whose codes do not end in `Exception`."""
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{code.removesuffix("Exception")}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(status, body.encode(), _HEADERS)
