/** Errors of the server as classes, the same tree as the Python client's. */

interface ErrorBody {
  code: string;
  message: string;
  field?: string | null;
  request_id?: string | null;
}

/** Base of all errors. `message` says what is wrong and what to do. */
export class VitrineError extends Error {
  static code = "internal";
  /** Code of the error, such as `unknown_catalogue`. A code of a newer server arrives as plain VitrineError. */
  readonly code: string;
  /** The invalid input, if the server named one. */
  readonly field: string | null;
  /** Name this id when you report the error to whoever runs the server. */
  readonly requestId: string | null;

  constructor(message: string, body: Partial<ErrorBody> = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = body.code ?? new.target.code;
    this.field = body.field ?? null;
    this.requestId = body.request_id ?? null;
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return false;
  }
}

export class InvalidInput extends VitrineError { static override code = "invalid_input"; }
export class UnsupportedFormat extends InvalidInput { static override code = "unsupported_format"; }
export class UndecodableImage extends InvalidInput { static override code = "undecodable_image"; }
export class ImageTooLarge extends InvalidInput { static override code = "image_too_large"; }
export class BodyTooLarge extends InvalidInput { static override code = "body_too_large"; }
export class LengthRequired extends InvalidInput { static override code = "length_required"; }
export class InvalidManifest extends InvalidInput { static override code = "invalid_manifest"; }
export class ImageMissing extends InvalidInput { static override code = "image_missing"; }
export class Unreachable extends InvalidInput { static override code = "unreachable"; }

export class Refused extends VitrineError { static override code = "refused"; }
export class Unauthorized extends Refused { static override code = "unauthorized"; }
export class Conflict extends Refused { static override code = "conflict"; }

export class NotFound extends VitrineError { static override code = "not_found"; }
export class UnknownCatalogue extends NotFound { static override code = "unknown_catalogue"; }
export class UnknownProduct extends NotFound { static override code = "unknown_product"; }
export class UnknownTask extends NotFound { static override code = "unknown_task"; }
export class UnknownJob extends NotFound { static override code = "unknown_job"; }
export class UnknownWebhook extends NotFound { static override code = "unknown_webhook"; }
export class IndexMissing extends NotFound { static override code = "index_missing"; }
export class Expired extends NotFound { static override code = "expired"; }
export class Deleted extends Expired { static override code = "deleted"; }

/** The server could not be reached, or cannot answer at the moment. */
export class Unavailable extends VitrineError {
  static override code = "unavailable";
  override get retryable(): boolean {
    return true;
  }
}
export class BrokerUnavailable extends Unavailable { static override code = "broker_unavailable"; }
export class IndexUnavailable extends Unavailable { static override code = "index_unavailable"; }
export class StorageUnavailable extends Unavailable { static override code = "storage_unavailable"; }
export class DatabaseUnavailable extends Unavailable { static override code = "database_unavailable"; }
export class OutOfMemory extends Unavailable { static override code = "out_of_memory"; }
export class Overloaded extends Unavailable { static override code = "overloaded"; }

export class UnreadableRow extends VitrineError { static override code = "unreadable_row"; }
export class Misconfigured extends VitrineError { static override code = "misconfigured"; }

const CLASSES = [
  InvalidInput, UnsupportedFormat, UndecodableImage, ImageTooLarge, BodyTooLarge, LengthRequired,
  InvalidManifest, ImageMissing, Unreachable, Refused, Unauthorized, Conflict, NotFound, UnknownCatalogue,
  UnknownProduct, UnknownTask, UnknownJob, UnknownWebhook, IndexMissing, Expired, Deleted, Unavailable,
  BrokerUnavailable, IndexUnavailable, StorageUnavailable, DatabaseUnavailable, OutOfMemory, Overloaded,
  UnreadableRow, Misconfigured,
];

/** Class of each error code. */
export const ERRORS: ReadonlyMap<string, typeof VitrineError> = new Map(
  CLASSES.map((kind) => [kind.code, kind]),
);

/** Return an error of the class with this body's code. */
export function toError(body: ErrorBody): VitrineError {
  return new (ERRORS.get(body.code) ?? VitrineError)(body.message, body);
}

/** Convert an error answer of the server, or of a proxy in front of it, to an error. */
export async function fromAnswer(answer: Response): Promise<VitrineError> {
  const body = await answer.json().then((found) => found?.error, () => undefined);
  if (typeof body?.code === "string" && typeof body?.message === "string") return toError(body);
  const kind = answer.status >= 500 ? Unavailable : VitrineError;
  return new kind(`${answer.url} answered ${answer.status} ${answer.statusText}.`);
}
