import type * as z from 'zod';
import { badRequest } from './errors.ts';

/** A JSON body that was checked. @throws {HttpError} 400, naming the field */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: Buffer): z.infer<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest('body', `is not JSON: ${(error as Error).message}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badRequest(issue?.path.join('.') || 'body', issue?.message ?? 'is not what it has to be');
}
