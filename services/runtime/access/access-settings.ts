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
  jwtIssuer: list(z.string().min(1))
    .default([])
    .describe(
      'Issuers of JSON Web Tokens that may call, each as in the claim "iss", separated by commas. With one, every call needs ' +
        'a credential.',
    ),
  jwtJwks: list(z.string().min(1))
    .default([])
    .describe(
      'Where the public keys of --jwt-issuer are, in the same order: https://... or a file, as a JWKS.',
    ),
  jwtAudience: list(z.string().min(1))
    .default([])
    .describe('Names of this service in the claim "aud", separated by commas; a token has to have one.'),
  jwtAlgorithms: list(z.string())
    .default(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'])
    .describe('Algorithms of signatures that are taken, separated by commas.'),
  jwtSkewS: integer(0, 300)
    .default(30)
    .describe('How far the clocks of issuers and of this machine may differ, in seconds.'),
  jwtScopesClaim: list(z.string().min(1))
    .default(['scope', 'scp'])
    .describe('Claims that have scopes, separated by commas: a text with spaces between them, or a list.'),
  jwtTenantsClaim: z.string().min(1).default('tenants').describe('Claim that has the patterns of tenants.'),
  jwtCollectionsClaim: z
    .string()
    .min(1)
    .default('collections')
    .describe('Claim that has the patterns of collections.'),
  jwtCa: file().describe(
    'PEM file with the CAs of the addresses in --jwt-jwks. By default those of Node.js.',
  ),
  jwtClientCert: file().describe('PEM file with the certificate that those addresses ask us for.'),
  jwtClientKey: file().describe('PEM file with the private key of --jwt-client-cert.'),
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
