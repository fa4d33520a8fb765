import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type * as z from 'zod';
import { badRequest, HttpError } from './errors.ts';

/** A search with a filter of hundreds of values is far below this. */
const DEFAULT_MAX_BYTES = 64 * 1024;

/**
 * Rejects bodies of other media types, and larger ones. Every route that takes a body needs this: a page of another site
 * can send a form, as text/plain for example, without asking the server first.
 */
export function takes(types = ['application/json'], maxBytes = DEFAULT_MAX_BYTES): MiddlewareHandler {
  const limit = bodyLimit({
    maxSize: maxBytes,
    onError: ({ req }) => {
      throw new HttpError(413, 'BODY_TOO_LARGE', `${req.path} takes bodies of at most ${maxBytes} bytes`);
    },
  });
  return (context, next) => {
    const type = context.req.header('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
    if (types.includes(type)) return limit(context, next);
    throw new HttpError(415, 'MEDIA_TYPE_NOT_SUPPORTED', `${context.req.path} takes ${types.join(' or ')}`);
  };
}

/** Parses and checks a JSON body. @throws {HttpError} 400, naming the field */
export async function readJson<Schema extends z.ZodType>(
  { req }: Context,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const value: unknown = await req.json().catch((error: Error) => {
    throw badRequest('body', `is not JSON: ${error.message}`);
  });
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badRequest(issue?.path.join('.') || 'body', issue?.message ?? 'does not match the schema');
}
