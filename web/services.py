"""The services that views share: built once by `create_app`, returned by `services()`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flask import current_app

from shared.access.key_ring import KeyRing
from shared.access.keys import KeyRepository
from shared.access.tenancy import Tenancy
from shared.access.wrong_keys import WrongKeys
from shared.broker.health import BrokerHealth
from shared.broker.publisher import TaskPublisher
from shared.broker.rate_counter import RateCounter
from shared.broker.result_channel import ResultWaiter
from shared.catalogue.duplicates import DuplicateRepository
from shared.catalogue.golden import GoldenRepository
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.product_list import ProductList
from shared.catalogue.ranking import RankingRepository
from shared.catalogue.shop_window import ShopWindow
from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.health.presence import Presence
from shared.jobs.dry_runs import DryRuns
from shared.jobs.repository import JobRepository
from shared.sandbox.pool import PictureSandbox
from shared.searches.deletion import SearchDeletion
from shared.searches.feedback import FeedbackRepository
from shared.searches.history import SearchHistory
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.repository import SearchRepository
from shared.settings import Settings
from shared.storage.disk import DiskGuard
from shared.storage.image_store import ImageStore
from shared.webhooks.repository import WebhookRepository

EXTENSION = "vitrine"


@dataclass(frozen=True)
class Services:
    """Repositories, stores, clients and limits of one web process.

    Attributes:
        rate, key_rate: count searches by address, and requests by key.
        refused_keys: counts keys that are right and were refused, by reason.
        photos, pictures: decode shoppers' photos and catalogue pictures in child processes; the web process
            itself decodes nothing.
        fetches: limits the threads that fetch URLs which callers name.
        waiters: limits the threads that wait for a search; two threads stay free for other requests.
        streams: limits how many of the waiters may hold an event stream.
    """

    settings: Settings
    database: Database
    searches: SearchRepository
    search_deletion: SearchDeletion
    search_history: SearchHistory
    search_metrics: SearchMetricsRepository
    feedback: FeedbackRepository
    jobs: JobRepository
    dry_runs: DryRuns
    webhooks: WebhookRepository
    indexes: IndexRepository
    golden: GoldenRepository
    duplicates: DuplicateRepository
    ranking: RankingRepository
    product_list: ProductList
    catalogue: CatalogueStore
    window: ShopWindow
    store: ImageStore
    disk: DiskGuard
    publisher: TaskPublisher
    presence: Presence
    broker: BrokerHealth
    result_waiter: ResultWaiter
    rate: RateCounter
    keys: KeyRepository
    key_ring: KeyRing
    key_rate: RateCounter
    tenancy: Tenancy
    wrong_keys: WrongKeys
    refused_keys: Mapping[str, WrongKeys]
    wrong_sign_ins: WrongKeys
    photos: PictureSandbox
    pictures: PictureSandbox
    fetches: threading.Semaphore
    waiters: threading.Semaphore
    streams: threading.Semaphore


def services() -> Services:
    """Return the services of the current application."""
    return cast(Services, current_app.extensions[EXTENSION])
