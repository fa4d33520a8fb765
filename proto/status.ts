import type { MessageTypeDefinition } from '@grpc/proto-loader';
import type { BadRequest, BadRequest__Output } from './generated/google/rpc/BadRequest.ts';
import type { ErrorInfo, ErrorInfo__Output } from './generated/google/rpc/ErrorInfo.ts';
import type { RetryInfo, RetryInfo__Output } from './generated/google/rpc/RetryInfo.ts';
import type { Status, Status__Output } from './generated/google/rpc/Status.ts';
import { lazily } from './lazy.ts';
import { packageDefinition } from './load.ts';

/** Who defines the reasons in our `google.rpc.ErrorInfo`. */
export const ERROR_DOMAIN = 'scalingnote';

/**
 * Trailer that carries a serialised `google.rpc.Status`, as every implementation of gRPC's richer error model
 * has it (https://grpc.io/docs/guides/error/#richer-error-model).
 */
export const STATUS_DETAILS_TRAILER = 'grpc-status-details-bin';

/** An error as both sides of a call see it: `google.rpc.Status` with its details unpacked. */
export interface RichStatus {
  /** gRPC status code. */
  code: number;
  /** What is wrong and how to mend it. */
  message: string;
  /** Stable name in UPPER_SNAKE_CASE; empty for an error that is not ours. */
  reason: string;
  /** Values that belong to the reason. */
  metadata?: Readonly<Record<string, string>>;
  /** Shortest wait before the next attempt, in milliseconds. */
  retryDelayMs?: number;
  /** The fields of the request that are wrong. */
  violations?: readonly FieldViolation[];
}

/** One wrong field of a request. */
export interface FieldViolation {
  /** Path of the field, for example `filter.must[0].range.gte`. */
  field: string;
  /** What is wrong with it and how to mend it. */
  description: string;
}

const statusType = message<Status, Status__Output>('google.rpc.Status');
const errorInfoType = message<ErrorInfo, ErrorInfo__Output>('google.rpc.ErrorInfo');
const retryInfoType = message<RetryInfo, RetryInfo__Output>('google.rpc.RetryInfo');
const badRequestType = message<BadRequest, BadRequest__Output>('google.rpc.BadRequest');

/** Packs an error into the message that goes over the wire, as a trailer or as a field. */
export function packStatus(status: RichStatus): Status {
  const details = [
    any(
      'google.rpc.ErrorInfo',
      errorInfoType.serialize({
        reason: status.reason,
        domain: ERROR_DOMAIN,
        metadata: { ...status.metadata },
      }),
    ),
  ];
  if (status.retryDelayMs !== undefined) {
    const seconds = Math.floor(status.retryDelayMs / 1000);
    const nanos = Math.round((status.retryDelayMs - seconds * 1000) * 1e6);
    details.push(any('google.rpc.RetryInfo', retryInfoType.serialize({ retryDelay: { seconds, nanos } })));
  }
  if (status.violations !== undefined && status.violations.length > 0) {
    details.push(
      any('google.rpc.BadRequest', badRequestType.serialize({ fieldViolations: [...status.violations] })),
    );
  }
  return { code: status.code, message: status.message, details };
}

/** Unpacks what {@link packStatus} packed, here or in another implementation. Unknown details are passed over. */
export function unpackStatus(status: Status__Output): RichStatus {
  const rich: RichStatus = { code: status.code, message: status.message, reason: '' };
  for (const { type_url: url, value } of status.details as unknown as PackedAny[]) {
    switch (url.slice(url.lastIndexOf('/') + 1)) {
      case 'google.rpc.ErrorInfo': {
        const info = errorInfoType.deserialize(value);
        rich.reason = info.reason;
        rich.metadata = info.metadata;
        break;
      }
      case 'google.rpc.RetryInfo': {
        const { retryDelay } = retryInfoType.deserialize(value);
        if (retryDelay) rich.retryDelayMs = Number(retryDelay.seconds) * 1000 + retryDelay.nanos / 1e6;
        break;
      }
      case 'google.rpc.BadRequest':
        rich.violations = badRequestType.deserialize(value).fieldViolations;
        break;
      default:
    }
  }
  return rich;
}

/** The bytes of {@link STATUS_DETAILS_TRAILER}. */
export function encodeStatus(status: RichStatus): Buffer {
  return statusType.serialize(packStatus(status));
}

/** The error in the bytes of {@link STATUS_DETAILS_TRAILER}. */
export function decodeStatus(bytes: Buffer): RichStatus {
  return unpackStatus(statusType.deserialize(bytes));
}

interface PackedAny {
  type_url: string;
  value: Buffer;
}

function any(type: string, value: Buffer): PackedAny {
  return { type_url: `type.googleapis.com/${type}`, value };
}

function message<Input, Output>(name: string): MessageTypeDefinition<Input, Output> {
  return lazily(() => packageDefinition[name] as unknown as MessageTypeDefinition<Input, Output>);
}
