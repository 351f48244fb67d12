"""The minimum role of each endpoint. An endpoint without an entry is for owners; a test refuses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.access.roles import Role


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call an endpoint.

    Attributes:
        role: minimum role; None: open to anyone, because it holds no data.
        is_whole: it is about the whole system, so keys that are bound to catalogues may not call it.
        takes_key_in_url: it serves pictures, for which an ``<img>`` element cannot send a header.
        for_visitors: shoppers may call it without a key, for the catalogues of ``VITRINE_WEB__PUBLIC``.
    """

    role: Role | None
    is_whole: bool = False
    takes_key_in_url: bool = False
    for_visitors: bool = False


OPEN: Final = Access(None)
SEARCH: Final = Access(Role.SEARCH)
OWN_SEARCH: Final = Access(Role.SEARCH, for_visitors=True)
CATALOGUE: Final = Access(Role.CATALOGUE)
SHOPPER: Final = Access(Role.CATALOGUE, for_visitors=True)
OPERATE: Final = Access(Role.OPERATE)
SYSTEM: Final = Access(Role.OPERATE, is_whole=True)
OWNER: Final = Access(Role.OWNER)

#: Addresses below these have no data for anyone without a key, not even whether an address exists.
_PRIVATE = ("/v1/", "/manage/")

ACCESS: Final[dict[str, Access]] = {
    # Open: no data of a catalogue.
    "static": OPEN,
    "docs.show_docs": OPEN,
    "operations.get_liveness": OPEN,
    "operations.get_readiness": OPEN,
    "operations.get_openapi": OPEN,
    "pages.installed.get_manifest": OPEN,
    "pages.installed.get_service_worker": OPEN,
    "pages.installed.show_offline": OPEN,
    "pages.brand.get_logo": OPEN,
    "pages.brand.get_stylesheet": OPEN,
    "pages.widget.get_script": OPEN,
    "pages.widget.get_pinned_script": OPEN,
    "pages.widget.get_texts": OPEN,
    "sign_in.show_sign_in": OPEN,
    "sign_in.sign_in_with_key": OPEN,
    "sign_in.sign_out": OPEN,
    # Searches and products of one catalogue.
    "searches.create_search": OWN_SEARCH,
    "searches.poll_search": OWN_SEARCH,
    "searches.cancel_search": OWN_SEARCH,
    "searches.delete_search": OWN_SEARCH,
    "searches.get_search_photo": OWN_SEARCH,
    "events.stream_search_events": OWN_SEARCH,
    "feedback.add_feedback": OWN_SEARCH,
    "similar.search_similar": SEARCH,
    "catalogues.get_product": SEARCH,
    "images.get_image": Access(Role.SEARCH, takes_key_in_url=True, for_visitors=True),
    # The shopper's pages.
    "pages.shopper.show_start": SHOPPER,
    "pages.shopper.create_search": SHOPPER,
    "pages.shopper.show_search": SHOPPER,
    "pages.shopper.show_part": SHOPPER,
    "pages.products.show_product": SHOPPER,
    "pages.own_search.delete_search": SHOPPER,
    "pages.own_search.set_photo_visibility": SHOPPER,
    # Products, imports and jobs.
    "catalogues.list_catalogues": CATALOGUE,
    "catalogues.get_catalogue": CATALOGUE,
    "catalogues.put_product": CATALOGUE,
    "catalogues.patch_product": CATALOGUE,
    "catalogues.delete_product": CATALOGUE,
    "catalogues.start_import": CATALOGUE,
    "import_mappings.get_mapping": CATALOGUE,
    "import_mappings.put_mapping": CATALOGUE,
    "jobs.list_jobs": CATALOGUE,
    "jobs.get_job": CATALOGUE,
    "jobs.list_failures": CATALOGUE,
    "jobs.export_failures": CATALOGUE,
    "jobs.pause_job": CATALOGUE,
    "jobs.resume_job": CATALOGUE,
    "jobs.cancel_job": CATALOGUE,
    "jobs.retry_job": CATALOGUE,
    "events.stream_job_events": CATALOGUE,
    "duplicates.find_duplicates": CATALOGUE,
    "duplicates.list_duplicates": CATALOGUE,
    "duplicates.export_duplicates": CATALOGUE,
    "ranking.get_boosts": CATALOGUE,
    "ranking.set_boosts": CATALOGUE,
    "ranking.list_calibrations": CATALOGUE,
    "indexes.list_indexes": CATALOGUE,
    "indexes.list_golden_queries": CATALOGUE,
    "indexes.add_golden_query": CATALOGUE,
    "indexes.remove_golden_query": CATALOGUE,
    "feedback.list_feedback": CATALOGUE,
    "feedback.export_feedback": CATALOGUE,
    "feedback.get_feedback_photo": CATALOGUE,
    "manage.show_start": CATALOGUE,
    "manage.show_catalogue": CATALOGUE,
    "manage.show_products": CATALOGUE,
    "manage.show_product": CATALOGUE,
    "manage.delete_product": CATALOGUE,
    "manage.show_duplicates": CATALOGUE,
    "manage.find_duplicates": CATALOGUE,
    "manage.delete_duplicates": CATALOGUE,
    "manage.show_import_form": CATALOGUE,
    "manage.start_import": CATALOGUE,
    "manage.show_jobs": CATALOGUE,
    "manage.show_job": CATALOGUE,
    "manage.run_job_action": CATALOGUE,
    "manage.show_indexes": CATALOGUE,
    "manage.show_index": CATALOGUE,
    "manage.get_sample_photo": CATALOGUE,
    # Index versions and the state of the system.
    "catalogues.reconcile_catalogue": OPERATE,
    "indexes.reprocess_catalogue": OPERATE,
    "indexes.promote_index": OPERATE,
    "indexes.roll_back_index": OPERATE,
    "indexes.prune_indexes": OPERATE,
    "indexes.rebuild_index": OPERATE,
    "ranking.calibrate_scores": OPERATE,
    "manage.calibrate_scores": OPERATE,
    "manage.run_index_action": OPERATE,
    "operations.get_status": SYSTEM,
    "operations.get_metrics": SYSTEM,
    "manage.show_operations": SYSTEM,
    # Catalogues as a whole, and everything that concerns all of them.
    "catalogues.create_catalogue": OWNER,
    "catalogues.delete_catalogue": OWNER,
    "manage.create_catalogue": OWNER,
    "manage.delete_catalogue": OWNER,
    "webhooks.list_webhooks": OWNER,
    "webhooks.add_webhook": OWNER,
    "webhooks.remove_webhook": OWNER,
    "webhooks.list_deliveries": OWNER,
    "webhooks.send_test_event": OWNER,
    "keys.list_keys": OWNER,
    "keys.create_key": OWNER,
    "keys.rotate_key": OWNER,
    "keys.revoke_key": OWNER,
    "audit.list_audit_entries": OWNER,
    "audit.export_audit_log": OWNER,
    "audit.list_sessions": OWNER,
    "audit.delete_session": OWNER,
    "audit.delete_all_sessions": OWNER,
    "manage.show_keys": OWNER,
    "manage.create_key": OWNER,
    "manage.run_key_action": OWNER,
    "manage.run_session_action": OWNER,
    "manage.show_audit_log": OWNER,
}


def access_of(endpoint: str | None, path: str) -> Access:
    """Return who may call an endpoint; for addresses that match none, any key is asked for first."""
    if endpoint is not None:
        return ACCESS.get(endpoint, OWNER)
    return SEARCH if path.startswith(_PRIVATE) else OPEN
