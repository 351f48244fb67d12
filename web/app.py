"""Create the web application: services, checks, routes and error handling."""

from __future__ import annotations

import threading

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from shared.access.audit import AuditLog
from shared.access.key_ring import KeyRing
from shared.access.keys import KeyRepository
from shared.access.sessions import SessionRepository, SessionRing
from shared.access.tenancy import Tenancy
from shared.access.wrong_keys import (
    REFUSALS,
    WRONG_KEYS_PER_MINUTE,
    WRONG_SIGN_INS_PER_MINUTE,
    WrongKeys,
)
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
from shared.factories import open_database, open_image_store, open_picture_sandbox
from shared.health.presence import Presence
from shared.jobs.dry_runs import DryRuns
from shared.jobs.repository import JobRepository
from shared.money.rates import RatesBook
from shared.searches.deletion import SearchDeletion
from shared.searches.feedback import FeedbackRepository
from shared.searches.history import SearchHistory
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.repository import SearchRepository
from shared.settings import Settings
from shared.storage.disk import DiskGuard
from shared.webhooks.repository import WebhookRepository
from web import manage, storefront
from web.api import (
    audit,
    catalogues,
    docs,
    duplicates,
    events,
    feedback,
    images,
    import_mappings,
    indexes,
    jobs,
    keys,
    operations,
    ranking,
    searches,
    similar,
    webhooks,
)
from web.http.bodies import VitrineRequest
from web.http.compression import compress
from web.http.errors import register_errors
from web.http.path_prefix import serve_below_prefix
from web.http.product_paths import route_product_ids
from web.http.security import protect
from web.http.url_fetches import MAX_FETCHES
from web.i18n import register_languages, remember_language
from web.i18n.money import register_prices, remember_currency
from web.manage import sign_in
from web.services import EXTENSION, Services
from web.storefront.brand import register_brand
from web.storefront.installed import STATIC, hash_folder

#: Request threads reserved from `Prefer: wait` and from waiting for a decoder.
_SPARE_THREADS = 2
_MAX_FORM_PARTS = 50
_MAX_FORM_FIELD_BYTES = 256_000
_YEAR_S = 31_536_000


def create_app(settings: Settings, *, publisher: TaskPublisher | None = None) -> Flask:
    """Create the web application on a migrated database (`shared.database.migrate`).

    Args:
        publisher: publishes tasks to the workers; built from the settings by default.
    """
    # The address contains a content hash, so browsers may cache static files without expiry.
    files = f"/static/{hash_folder(STATIC)}"
    app = Flask("web", static_folder=STATIC, static_url_path=files, template_folder="templates")
    app.request_class = VitrineRequest
    app.config.update(
        MAX_CONTENT_LENGTH=settings.web.max_body_bytes,
        MAX_FORM_PARTS=_MAX_FORM_PARTS,
        MAX_FORM_MEMORY_SIZE=_MAX_FORM_FIELD_BYTES,
        SEND_FILE_MAX_AGE_DEFAULT=_YEAR_S,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    if settings.web.proxies:
        hops = settings.web.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.extensions[EXTENSION] = build_services(settings, publisher)
    serve_below_prefix(app, settings.web.proxies)
    route_product_ids(app)
    protect(app, settings, (remember_currency, remember_language, compress))
    register_errors(app, sign_in.render_refused_page)
    register_languages(app)
    register_brand(app, settings.brand)
    register_prices(app, RatesBook(settings.rates_path))
    owners = (
        catalogues,
        import_mappings,
        indexes,
        ranking,
        duplicates,
        feedback,
        jobs,
        events,
        webhooks,
        keys,
        audit,
        operations,
    )
    for part in (searches, similar, *owners, images, docs, storefront, manage, sign_in):
        app.register_blueprint(part.blueprint)
    return app


def build_services(settings: Settings, publisher: TaskPublisher | None) -> Services:
    """Open the services that the views share, once per process."""
    database = open_database(settings)
    store = open_image_store(settings)
    decoders = settings.web.decoders
    waiting = max(0, settings.web.threads - _SPARE_THREADS - decoders)
    key_repository, session_repository = KeyRepository(database), SessionRepository(database)
    wrong_key_counter = RateCounter(settings.redis_url, WRONG_KEYS_PER_MINUTE, "wrong-key")
    return Services(
        settings=settings,
        database=database,
        searches=SearchRepository(database),
        search_deletion=SearchDeletion(database),
        search_history=SearchHistory(database),
        search_metrics=SearchMetricsRepository(database),
        feedback=FeedbackRepository(database),
        jobs=JobRepository(database),
        dry_runs=DryRuns(database),
        webhooks=WebhookRepository(database),
        indexes=IndexRepository(database),
        golden=GoldenRepository(database),
        duplicates=DuplicateRepository(database),
        ranking=RankingRepository(database),
        product_list=ProductList(database),
        catalogue=CatalogueStore(database),
        window=ShopWindow(database),
        store=store,
        disk=DiskGuard(store.folder, settings.data_dir, settings.images.min_free_bytes),
        publisher=publisher or TaskPublisher(settings.redis_url),
        presence=Presence(database),
        broker=BrokerHealth(settings.redis_url),
        result_waiter=ResultWaiter(settings.redis_url),
        rate=RateCounter(settings.redis_url, settings.web.searches_per_minute),
        keys=key_repository,
        key_ring=KeyRing(key_repository),
        key_rate=RateCounter(settings.redis_url, settings.web.searches_per_minute, "key"),
        sessions=session_repository,
        session_ring=SessionRing(session_repository),
        audit=AuditLog(database),
        tenancy=Tenancy(database),
        wrong_keys=WrongKeys(wrong_key_counter, "bearer"),
        refused_keys={how: WrongKeys(wrong_key_counter, how) for how in REFUSALS},
        wrong_sign_ins=WrongKeys(
            RateCounter(settings.redis_url, WRONG_SIGN_INS_PER_MINUTE, "sign-in"), "sign_in"
        ),
        photos=open_picture_sandbox(settings, decoders, catalogue=False, max_waiting=waiting),
        pictures=open_picture_sandbox(settings, decoders, catalogue=True, max_waiting=waiting),
        fetches=threading.Semaphore(MAX_FETCHES),
        waiters=threading.Semaphore(max(0, settings.web.threads - _SPARE_THREADS)),
        streams=threading.Semaphore(settings.web.event_streams),
    )
