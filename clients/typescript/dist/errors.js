/** Errors of the server as classes, the same tree as the Python client's. */
/** Base of all errors. `message` says what is wrong and what to do. */
export class VitrineError extends Error {
    static code = "internal";
    /** Code of the error, such as `unknown_catalogue`. A code of a newer server arrives as plain VitrineError. */
    code;
    /** The invalid input, if the server named one. */
    field;
    /** Name this id when you report the error to whoever runs the server. */
    requestId;
    constructor(message, body = {}, options) {
        super(message, options);
        this.name = new.target.name;
        this.code = body.code ?? new.target.code;
        this.field = body.field ?? null;
        this.requestId = body.request_id ?? null;
    }
    /** Whether the same request may succeed later. */
    get retryable() {
        return false;
    }
}
export class InvalidInput extends VitrineError {
    static code = "invalid_input";
}
export class UnsupportedFormat extends InvalidInput {
    static code = "unsupported_format";
}
export class UndecodableImage extends InvalidInput {
    static code = "undecodable_image";
}
export class ImageTooLarge extends InvalidInput {
    static code = "image_too_large";
}
export class BodyTooLarge extends InvalidInput {
    static code = "body_too_large";
}
export class LengthRequired extends InvalidInput {
    static code = "length_required";
}
export class InvalidManifest extends InvalidInput {
    static code = "invalid_manifest";
}
export class ImageMissing extends InvalidInput {
    static code = "image_missing";
}
export class Unreachable extends InvalidInput {
    static code = "unreachable";
}
export class Refused extends VitrineError {
    static code = "refused";
}
export class Unauthorized extends Refused {
    static code = "unauthorized";
}
export class Conflict extends Refused {
    static code = "conflict";
}
export class NotFound extends VitrineError {
    static code = "not_found";
}
export class UnknownCatalogue extends NotFound {
    static code = "unknown_catalogue";
}
export class UnknownProduct extends NotFound {
    static code = "unknown_product";
}
export class UnknownTask extends NotFound {
    static code = "unknown_task";
}
export class UnknownJob extends NotFound {
    static code = "unknown_job";
}
export class UnknownWebhook extends NotFound {
    static code = "unknown_webhook";
}
export class IndexMissing extends NotFound {
    static code = "index_missing";
}
export class Expired extends NotFound {
    static code = "expired";
}
export class Deleted extends Expired {
    static code = "deleted";
}
/** The server could not be reached, or cannot answer at the moment. */
export class Unavailable extends VitrineError {
    static code = "unavailable";
    get retryable() {
        return true;
    }
}
export class BrokerUnavailable extends Unavailable {
    static code = "broker_unavailable";
}
export class IndexUnavailable extends Unavailable {
    static code = "index_unavailable";
}
export class StorageUnavailable extends Unavailable {
    static code = "storage_unavailable";
}
export class DatabaseUnavailable extends Unavailable {
    static code = "database_unavailable";
}
export class OutOfMemory extends Unavailable {
    static code = "out_of_memory";
}
export class Overloaded extends Unavailable {
    static code = "overloaded";
}
export class UnreadableRow extends VitrineError {
    static code = "unreadable_row";
}
export class Misconfigured extends VitrineError {
    static code = "misconfigured";
}
const CLASSES = [
    InvalidInput, UnsupportedFormat, UndecodableImage, ImageTooLarge, BodyTooLarge, LengthRequired,
    InvalidManifest, ImageMissing, Unreachable, Refused, Unauthorized, Conflict, NotFound, UnknownCatalogue,
    UnknownProduct, UnknownTask, UnknownJob, UnknownWebhook, IndexMissing, Expired, Deleted, Unavailable,
    BrokerUnavailable, IndexUnavailable, StorageUnavailable, DatabaseUnavailable, OutOfMemory, Overloaded,
    UnreadableRow, Misconfigured,
];
/** Class of each error code. */
export const ERRORS = new Map(CLASSES.map((kind) => [kind.code, kind]));
/** Return an error of the class with this body's code. */
export function toError(body) {
    return new (ERRORS.get(body.code) ?? VitrineError)(body.message, body);
}
/** Convert an error answer of the server, or of a proxy in front of it, to an error. */
export async function fromAnswer(answer) {
    const body = await answer.json().then((found) => found?.error, () => undefined);
    if (typeof body?.code === "string" && typeof body?.message === "string")
        return toError(body);
    const kind = answer.status >= 500 ? Unavailable : VitrineError;
    return new kind(`${answer.url} answered ${answer.status} ${answer.statusText}.`);
}
