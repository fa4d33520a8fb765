import * as z from 'zod';
import { boolean, integer } from '../setting-types.ts';

/** Signatures that tokens may have: those with two keys, so that whoever checks a token can't make one. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

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
    'File of API keys, made with "scalingnote keys create". With it, or --jwt-jwks, every call needs a credential.',
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
  jwtJwks: file().describe(
    'Where the public keys of tokens (JWT) are: an https address, or a file in the form of a JWK set.',
  ),
  jwtIssuer: z.string().min(1).optional().describe('Issuer that tokens must name: the claim iss.'),
  jwtAudience: z
    .string()
    .min(1)
    .optional()
    .describe('Audience that tokens must name, for example the address of this service: the claim aud.'),
  jwtAlgorithms: list(z.enum(ALGORITHMS, `must be among ${ALGORITHMS.join(', ')}`))
    .default(['RS256', 'ES256', 'EdDSA'])
    .describe('Signatures that tokens may have, separated by commas.'),
  jwtSkewS: integer(0, 300).default(30).describe('Seconds that the clock of an issuer may differ from ours.'),
  jwtScopesClaim: z
    .string()
    .min(1)
    .default('scope')
    .describe('Claim of a token with its scopes: a list, or a text with spaces between.'),
  jwtTenantsClaim: z
    .string()
    .min(1)
    .default('tenants')
    .describe('Claim of a token with its tenants, as patterns. A token without it is for no tenant’s data.'),
  jwtCollectionsClaim: z
    .string()
    .min(1)
    .default('collections')
    .describe('Claim of a token with its collections, as patterns. A token without it is for none.'),
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
