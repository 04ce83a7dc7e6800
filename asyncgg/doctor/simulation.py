"""Asks IAM whether the policies of the caller allow actions that cannot be tried without a change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from asyncgg.transport import CallerIdentity, ConnectionConfig
from asyncgg.transport.optional_query import query_optional_service

Question = tuple[str, str]
"""An action and the ARN of a resource."""

_SESSION_ARN: Final = re.compile(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/")


async def simulate_policies(
    connection: ConnectionConfig, identity: CallerIdentity | None, questions: Sequence[Question]
) -> tuple[dict[Question, bool], str]:
    """Whether each question is allowed, as far as IAM answers, and why the others have no answer.

    Errors and endpoints as in `query_optional_service`.
    """
    if identity is None:
        return {}, "the caller is unknown"
    allowed: dict[Question, bool] = {}
    source = policy_source(identity.arn)

    async def query(client: Any) -> None:
        for action, resource in questions:
            response = await client.simulate_principal_policy(
                PolicySourceArn=source, ActionNames=[action], ResourceArns=[resource]
            )
            (result,) = response["EvaluationResults"]
            allowed[action, resource] = result["EvalDecision"] == "allowed"

    _, reason = await query_optional_service(connection, "iam", "IAM", query)
    return allowed, reason


def policy_source(arn: str) -> str:
    """The user or role whose policies decide for the caller `arn`: of a session its role, if that has no path."""
    match = _SESSION_ARN.match(arn)
    return f"arn:{match[1]}:iam::{match[2]}:role/{match[3]}" if match else arn
