"""What the Celery test runs, over queues of the appliance that the environment names."""

import os
from pathlib import Path
from urllib.parse import quote

import celery

KEY, SECRET = (quote(os.environ[name], safe="") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
RESULTS = Path(os.environ["ZEROCLOUD_RESULTS"])

app = celery.Celery("celery_tasks", broker=f"sqs://{KEY}:{SECRET}@{ENDPOINT.split('://')[1]}//")
app.conf.update(
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": ENDPOINT.startswith("https"),
        "visibility_timeout": 30,
        "wait_time_seconds": 2,
        "polling_interval": 0.1,
        "queue_name_prefix": "celery-",
    },
    task_acks_late=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


def write(name: str, text: str) -> None:
    part = RESULTS / f"{name}.part"
    part.write_text(text)
    part.rename(RESULTS / f"{name}.result")


@app.task
def add(number: int) -> None:
    write(f"add-{number}", str(number + 1))


@app.task(bind=True, max_retries=3)
def flaky(self) -> None:
    if self.request.retries == 0:
        raise self.retry(countdown=1)
    write("flaky", str(self.request.retries + 1))


@app.task
def later() -> None:
    write("later", "late")


def order() -> None:
    """Orders every task."""
    for number in range(20):
        add.delay(number)
    flaky.delay()
    later.apply_async(countdown=2)
