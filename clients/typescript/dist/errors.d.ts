/** Errors of the server as classes, the same tree as the Python client's. */
interface ErrorBody {
    code: string;
    message: string;
    field?: string | null;
    request_id?: string | null;
}
/** Base of all errors. `message` says what is wrong and what to do. */
export declare class VitrineError extends Error {
    static code: string;
    /** Code of the error, such as `unknown_catalogue`. A code of a newer server arrives as plain VitrineError. */
    readonly code: string;
    /** The invalid input, if the server named one. */
    readonly field: string | null;
    /** Name this id when you report the error to whoever runs the server. */
    readonly requestId: string | null;
    constructor(message: string, body?: Partial<ErrorBody>, options?: ErrorOptions);
    /** Whether the same request may succeed later. */
    get retryable(): boolean;
}
export declare class InvalidInput extends VitrineError {
    static code: string;
}
export declare class UnsupportedFormat extends InvalidInput {
    static code: string;
}
export declare class UndecodableImage extends InvalidInput {
    static code: string;
}
export declare class ImageTooLarge extends InvalidInput {
    static code: string;
}
export declare class BodyTooLarge extends InvalidInput {
    static code: string;
}
export declare class LengthRequired extends InvalidInput {
    static code: string;
}
export declare class InvalidManifest extends InvalidInput {
    static code: string;
}
export declare class ImageMissing extends InvalidInput {
    static code: string;
}
export declare class Unreachable extends InvalidInput {
    static code: string;
}
export declare class Refused extends VitrineError {
    static code: string;
}
export declare class Unauthorized extends Refused {
    static code: string;
}
export declare class Conflict extends Refused {
    static code: string;
}
export declare class NotFound extends VitrineError {
    static code: string;
}
export declare class UnknownCatalogue extends NotFound {
    static code: string;
}
export declare class UnknownProduct extends NotFound {
    static code: string;
}
export declare class UnknownTask extends NotFound {
    static code: string;
}
export declare class UnknownJob extends NotFound {
    static code: string;
}
export declare class UnknownWebhook extends NotFound {
    static code: string;
}
export declare class IndexMissing extends NotFound {
    static code: string;
}
export declare class Expired extends NotFound {
    static code: string;
}
export declare class Deleted extends Expired {
    static code: string;
}
/** The server could not be reached, or cannot answer at the moment. */
export declare class Unavailable extends VitrineError {
    static code: string;
    get retryable(): boolean;
}
export declare class BrokerUnavailable extends Unavailable {
    static code: string;
}
export declare class IndexUnavailable extends Unavailable {
    static code: string;
}
export declare class StorageUnavailable extends Unavailable {
    static code: string;
}
export declare class DatabaseUnavailable extends Unavailable {
    static code: string;
}
export declare class OutOfMemory extends Unavailable {
    static code: string;
}
export declare class Overloaded extends Unavailable {
    static code: string;
}
export declare class UnreadableRow extends VitrineError {
    static code: string;
}
export declare class Misconfigured extends VitrineError {
    static code: string;
}
/** Class of each error code. */
export declare const ERRORS: ReadonlyMap<string, typeof VitrineError>;
/** Return an error of the class with this body's code. */
export declare function toError(body: ErrorBody): VitrineError;
/** Convert an error answer of the server, or of a proxy in front of it, to an error. */
export declare function fromAnswer(answer: Response): Promise<VitrineError>;
export {};
