"""For detect-secrets: how keys of this gateway and of its providers look."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class GatewayAndProviderKeys(RegexBasedDetector):
    """Anthropic, Google, OpenAI, OpenRouter, and our own keys, which look like OpenRouter's.

    No groups that capture: detect-secrets would take the group for the secret.
    """

    secret_type = "Key of a gateway or a provider"  # noqa: S105  a name, no secret
    denylist = (
        re.compile(r"sk-or-v1-[0-9a-f]{64}"),
        re.compile(r"sk-ant-(?:api|admin)\d\d-[\w-]{80,}"),
        re.compile(r"sk-(?:proj|svcacct)-[\w-]{60,}"),
        re.compile(r"AIza[\w-]{35}"),
    )
