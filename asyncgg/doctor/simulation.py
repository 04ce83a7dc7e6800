"""Asks IAM whether the policies of the caller allow actions that cannot be tried without a change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.transport import CallerIdentity, ConnectionConfig, Endpoint
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import configured_endpoint
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import describe_client_error, new_session

Question = tuple[str, str]
"""An action and the ARN of a resource."""

_TIMEOUT: Final = 10.0
_SESSION_ARN: Final = re.compile(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/")


async def simulate_policies(
    connection: ConnectionConfig, endpoint: Endpoint, identity: CallerIdentity | None, questions: Sequence[Question]
) -> tuple[dict[Question, bool], str]:
    """Whether each question is allowed, as far as IAM answers, and why the others have no answer.

    Every error is such a reason. With a custom Greengrass endpoint, only a custom endpoint for IAM is called.
    """
    if identity is None:
        return {}, "the caller is unknown"
    session = new_session(connection.profile, endpoint.region)
    url = configured_endpoint(session, "iam", service_specific_only=True)[1]
    if endpoint.custom and url is None:
        return {}, "custom endpoint in use"
    allowed: dict[Question, bool] = {}
    try:
        async with open_service_client(
            "iam",
            connection,
            endpoint.region,
            url,
            connect_timeout=min(connection.connect_timeout, _TIMEOUT),
            read_timeout=min(connection.request_timeout, _TIMEOUT),
            http_session_cls=TracingSession,
            use_fips_endpoint=None,  # as in the AWS configuration
            use_dualstack_endpoint=None,
        ) as (client, _):
            for action, resource in questions:
                response = await client.simulate_principal_policy(
                    PolicySourceArn=policy_source(identity.arn), ActionNames=[action], ResourceArns=[resource]
                )
                (result,) = response["EvaluationResults"]
                allowed[action, resource] = result["EvalDecision"] == "allowed"
    except aws.ClientError as error:
        return allowed, describe_client_error("IAM", error)
    except AsyncggError as error:
        return allowed, str(error)
    except Exception as error:  # noqa: BLE001 - the answer is only informative, so no failure may end the command
        readable = isinstance(error, aws.BotoCoreError)
        return allowed, sanitize(error) if readable else f"unreadable response ({type(error).__name__})"
    return allowed, ""


def policy_source(arn: str) -> str:
    """The user or role whose policies decide for the caller `arn`: of a session its role, if that has no path."""
    match = _SESSION_ARN.match(arn)
    return f"arn:{match[1]}:iam::{match[2]}:role/{match[3]}" if match else arn
