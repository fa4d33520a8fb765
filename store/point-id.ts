import { createHash } from 'node:crypto';

/** Namespace of our point ids: UUIDv5 of "scalingnote/point" in the URL namespace of RFC 9562. Never changes. */
const NAMESPACE = uuidV5(
  Buffer.from('6ba7b8119dad11d180b400c04fd430c8', 'hex'),
  Buffer.from('scalingnote/point'),
);

/**
 * The id of a passage's point: UUIDv5 (RFC 9562, section 5.5) of tenant, document id and passage index. The same
 * passage has the same id whoever writes it, so writing again overwrites.
 *
 * @param passage index from 0, below 2^32
 */
export function pointId(tenant: string, documentId: string, passage: number): string {
  return format(uuidV5(NAMESPACE, encodeTriple(tenant, documentId, passage)));
}

/**
 * Tenant, document id and passage as bytes that no other triple has: lengths come before what they measure, so that
 * ("a", "bc") and ("ab", "c") differ.
 */
export function encodeTriple(tenant: string, documentId: string, passage: number): Buffer {
  const tenantBytes = Buffer.from(tenant);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(passage, 0);
  header.writeUInt32BE(tenantBytes.length, 4);
  return Buffer.concat([header, tenantBytes, Buffer.from(documentId)]);
}

function uuidV5(namespace: Buffer, name: Buffer): Buffer {
  const uuid = createHash('sha1').update(namespace).update(name).digest().subarray(0, 16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x50;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}

function format(uuid: Buffer): string {
  const hex = uuid.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
