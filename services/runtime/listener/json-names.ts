import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { status, type ServerErrorResponse } from '@grpc/grpc-js';
import { decodeStatus, encodeStatus, STATUS_DETAILS_TRAILER } from '../../../proto/status.ts';

/** A name and what follows it up to the next one: `must[0]`. */
const SEGMENT = /^([^.[\]]+)((?:\[\d+\])*)$/;

/**
 * The path of a field in the names of JSON, from its path in those of the contract: `scoreThreshold` for
 * `score_threshold`. Keys of the caller's own, as those of metadata, stay as they are.
 */
export function jsonPath(type: DescMessage, path: string): string {
  let owner: DescMessage | undefined = type;
  const parts = path.split('.');
  for (const [index, part] of parts.entries()) {
    const [, name, places = ''] = SEGMENT.exec(part) ?? [];
    const field: DescField | undefined = owner?.fields.find((one) => one.name === name);
    if (!field) break;
    parts[index] = field.jsonName + places;
    owner = field.fieldKind === 'map' ? undefined : field.message;
  }
  return parts.join('.');
}

/** The same error of a call, its fields in the names of JSON. @param type of the request */
export function withJsonNames(
  error: Partial<ServerErrorResponse>,
  type: DescMessage,
): Partial<ServerErrorResponse> {
  const [packed] = error.metadata?.get(STATUS_DETAILS_TRAILER) ?? [];
  if (error.code !== status.INVALID_ARGUMENT || !Buffer.isBuffer(packed)) return error;
  const rich = decodeStatus(packed);
  let { message } = rich;
  const violations = rich.violations?.map(({ field, description }) => {
    const named = jsonPath(type, field);
    // The message is made of the violations, and may be cut.
    message = message.replace(`${field}: `, () => `${named}: `);
    return { field: named, description };
  });
  if (!violations) return error;
  const metadata = error.metadata!.clone();
  metadata.set(STATUS_DETAILS_TRAILER, encodeStatus({ ...rich, message, violations }));
  return { ...error, details: message, metadata };
}
