"""Names of the task queues; they hold account slugs, never logins or user names."""

PIPELINE = "pipeline"


def broker_queue(account_slug: str) -> str:
    return f"broker-{account_slug}"
