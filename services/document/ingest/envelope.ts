import protobuf from 'protobufjs';
import { v1 } from '../../../proto/load.ts';
import { MAX_JSON_DEPTH } from '../../../proto/struct.ts';
import { invalidArgument } from '../../runtime/errors.ts';
import type { Salvaged } from '../../runtime/request-guard.ts';

/** The parts of IngestRequest, Document and DocumentPatch that an outcome needs: see `document_service.proto`. */
const envelope = new protobuf.Type('Envelope')
  .add(new protobuf.Field('sequence', 1, 'uint64'))
  .add(new protobuf.Field('document', 3, 'bytes'))
  .add(new protobuf.Field('patch', 5, 'bytes'));
const identity = new protobuf.Type('Identity').add(new protobuf.Field('id', 1, 'string'));

const { requestSerialize, requestDeserialize } = v1.DocumentService.service.Ingest;

/**
 * Reads sequence and id of an operation whose document or patch does not decode, for example because its metadata are
 * nested too deep. That is enough to reject this operation and go on.
 *
 * @returns `undefined` where not even that much can be read
 */
export function salvageDocument(bytes: Buffer): Salvaged | undefined {
  const { sequence, document, patch } = read(envelope, bytes);
  const operation = document ?? patch;
  if (typeof sequence !== 'string' || !(operation instanceof Uint8Array)) return undefined;
  const { id } = read(identity, operation);
  const kept = { id: typeof id === 'string' ? id : '' };
  return {
    request: requestDeserialize(
      requestSerialize(document ? { sequence, document: kept } : { sequence, patch: kept }),
    ),
    error: invalidArgument(
      document ? 'document' : 'patch',
      `does not decode; nest metadata ${MAX_JSON_DEPTH} levels at the most, and generate the client from proto/scalingnote/v1`,
    ),
  };
}

function read(type: protobuf.Type, bytes: Uint8Array): Record<string, unknown> {
  try {
    return type.toObject(type.decode(bytes), { longs: String });
  } catch {
    return {};
  }
}
