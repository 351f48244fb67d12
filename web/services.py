"""What the views work with: built once by `create_app`, read by `services()`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

from flask import current_app

from shared.access.wrong_keys import WrongKeys
from shared.broker.health import BrokerHealth
from shared.broker.publisher import TaskPublisher
from shared.broker.rate_counter import RateCounter
from shared.broker.result_channel import ResultWaiter
from shared.catalogue.duplicates import DuplicateRepository
from shared.catalogue.golden import GoldenRepository
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.shop_window import ShopWindow
from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.health.presence import Presence
from shared.jobs.repository import JobRepository
from shared.sandbox import PictureSandbox
from shared.searches.repository import SearchRepository
from shared.settings import Settings
from shared.storage.disk import DiskGuard
from shared.storage.image_store import ImageStore
from shared.webhooks.repository import WebhookRepository

EXTENSION = "vitrine"


@dataclass(frozen=True)
class Services:
    """The parts behind the HTTP surface.

    ``waiters`` counts the request threads that may sleep on a search at once; it leaves two for
    everybody else, so that slow searches never make the health check silent; ``streams`` how many of
    these may hold an event stream. ``photos`` decodes what shoppers send and ``pictures`` what catalogues
    hold, both in child processes: this process decodes nothing. ``fetches`` bounds the threads that wait for
    addresses which callers name.
    """

    settings: Settings
    database: Database
    searches: SearchRepository
    jobs: JobRepository
    webhooks: WebhookRepository
    indexes: IndexRepository
    golden: GoldenRepository
    duplicates: DuplicateRepository
    catalogue: CatalogueStore
    window: ShopWindow
    store: ImageStore
    disk: DiskGuard
    publisher: TaskPublisher
    presence: Presence
    broker: BrokerHealth
    result_waiter: ResultWaiter
    rate: RateCounter
    wrong_keys: WrongKeys
    wrong_sign_ins: WrongKeys
    photos: PictureSandbox
    pictures: PictureSandbox
    fetches: threading.Semaphore
    waiters: threading.Semaphore
    streams: threading.Semaphore


def services() -> Services:
    """The services of the application that answers the present request."""
    return cast(Services, current_app.extensions[EXTENSION])
