"""What a key needs for each method. The server refuses to start with a method that is not listed."""

from __future__ import annotations

from collections.abc import Mapping

PUBLIC = "public"  # no key is asked for
OPERATOR = "operator"  # an operator key

_PACKAGE = "gpuplane.v1"

_CANONICAL: dict[str, dict[str, str]] = {
    "Instances": {
        "CreateInstance": "instances:write",
        "BatchCreateInstances": "instances:write",
        "ReserveInstances": "instances:write",
        "GetInstance": "instances:read",
        "ListInstances": "instances:read",
        "UpdateInstance": "instances:write",
        "TerminateInstance": "instances:write",
        "ExtendInstance": "instances:write",
        "WatchInstance": "instances:read",
        "WatchInstances": "instances:read",
        "GetConnection": "instances:write",  # it hands out a secret
        "GetDiagnostics": "instances:read",
        "GetInstanceLogs": "instances:read",
    },
    "Operations": {
        "GetOperation": "instances:read",
        "ListOperations": "instances:read",
        "WaitOperation": "instances:read",
        "CancelOperation": "instances:write",
        "WatchOperation": "instances:read",
    },
    "Offers": {
        "ListOffers": "offers:read",
        "GetOffer": "offers:read",
        "RankOffers": "offers:read",
        "ListPrices": "offers:read",
        "ListTemplates": "offers:read",
        "GetTemplate": "offers:read",
        "ListCompatibleTemplates": "offers:read",
        "ListGpuTypes": "offers:read",
    },
    "Keys": {
        "CreateSshKey": "keys:write",
        "GetSshKey": "keys:read",
        "ListSshKeys": "keys:read",
        "DeleteSshKey": "keys:write",
        "CreateApiKey": "keys:write",
        "GetApiKey": "keys:read",
        "ListApiKeys": "keys:read",
        "RevokeApiKey": "keys:write",
    },
    "Usage": {
        "QueryUsage": "usage:read",
        "GetCostSummary": "usage:read",
        "ListLedgerEntries": "usage:read",
    },
    "Budgets": {
        "CreateBudget": "budgets:write",
        "GetBudget": "budgets:read",
        "ListBudgets": "budgets:read",
        "UpdateBudget": "budgets:write",
        "DeleteBudget": "budgets:write",
    },
    "Webhooks": {
        "CreateWebhookEndpoint": "webhooks:write",
        "GetWebhookEndpoint": "webhooks:read",
        "ListWebhookEndpoints": "webhooks:read",
        "UpdateWebhookEndpoint": "webhooks:write",
        "DeleteWebhookEndpoint": "webhooks:write",
        "ListWebhookDeliveries": "webhooks:read",
        "RedeliverWebhook": "webhooks:write",
    },
    "ProviderCredentials": {
        "CreateProviderCredential": "providers:write",
        "GetProviderCredential": "providers:read",
        "ListProviderCredentials": "providers:read",
        "RevokeProviderCredential": "providers:write",
    },
    "Accounts": {
        "CreateAccount": OPERATOR,
        "GetAccount": OPERATOR,
        "ListAccounts": OPERATOR,
        "CloseAccount": OPERATOR,
    },
    "Strays": {
        "GetStray": OPERATOR,
        "ListStrays": OPERATOR,
        "AdoptStray": OPERATOR,
        "DestroyStray": OPERATOR,
    },
    "System": {
        "GetHealth": PUBLIC,
        "GetReadiness": PUBLIC,
        "GetMetrics": OPERATOR,
        "GetServerInfo": PUBLIC,
    },
}

CANONICAL_SERVICES = tuple(f"{_PACKAGE}.{service}" for service in _CANONICAL)


def canonical_scopes(*, public_metrics: bool = False) -> Mapping[str, str]:
    """Required scope by method path. `public_metrics`: metrics need no key, for servers bound to loopback."""
    table = {
        f"/{_PACKAGE}.{service}/{method}": scope
        for service, methods in _CANONICAL.items()
        for method, scope in methods.items()
    }
    if public_metrics:
        table[f"/{_PACKAGE}.System/GetMetrics"] = PUBLIC
    return table
