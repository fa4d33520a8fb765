import * as z from 'zod';
import { boolean, integer } from '../setting-types.ts';

const file = () => z.string().min(1).optional();

/** Texts separated by commas, or an array in a file. */
const list = (item: z.ZodType<string>) =>
  z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((each) => each.trim()) : value),
    z.array(item),
  );

/** Settings that say who may call, and how. */
export const accessSettings = {
  keys: file().describe(
    'File of API keys, made with "scalingnote keys create". With it, every call needs a credential.',
  ),
  anonymous: boolean().default(false).meta({
    description:
      'Serve callers without a credential on an address that is not loopback. The log says so at each start.',
    switch: true,
  }),
  plaintext: boolean().default(false).meta({
    description: 'Serve without TLS on an address that is not loopback. The log says so at each start.',
    switch: true,
  }),
  tlsCert: list(z.string().min(1))
    .default([])
    .describe(
      'PEM files with a certificate and its chain, separated by commas: one for each name that clients may ask for.',
    ),
  tlsKey: list(z.string().min(1))
    .default([])
    .describe('PEM files with the private keys of --tls-cert, in the same order.'),
  tlsClientCa: file().describe(
    'PEM file with the CAs of clients. With it, a client without a certificate of theirs can’t connect.',
  ),
  auditLog: file().describe(
    'File that gets a line of JSON for each call: who, what, where, outcome. "-" for standard error.',
  ),
  auditMib: integer(1, 65_536)
    .default(64)
    .describe('Size at which the audit log begins a new file, in MiB. The four files before are kept.'),
};

/** Names of these settings. */
export const ACCESS_SETTINGS = Object.keys(accessSettings) as (keyof typeof accessSettings)[];

/** Values of these settings. */
export type AccessConfig = z.infer<z.ZodObject<typeof accessSettings>>;
