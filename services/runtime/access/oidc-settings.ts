import * as z from 'zod';

const file = () => z.string().min(1).optional();

/** Settings of a login at an issuer, by OpenID Connect. */
export const oidcSettings = {
  oidcIssuer: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Issuer at which people log in to the console (OpenID Connect), as it names itself: https://issuer.example. With it, the ' +
        'console always asks for a login.',
    ),
  oidcClientId: z.string().min(1).optional().describe('Name of the console at that issuer.'),
  oidcClientSecret: z.string().min(1).optional().meta({
    description:
      'Secret of the console at that issuer, if it has one. There is no flag, because other processes can read flags.',
    flag: false,
  }),
  oidcClientSecretFile: file().describe('File that holds this secret. It is read again when it changes.'),
  oidcScopes: z
    .preprocess(
      (value) => (typeof value === 'string' ? value.split(',').map((each) => each.trim()) : value),
      z.array(z.string().regex(/^[!#-[\]-~]+$/, 'must be names of scopes, separated by commas')),
    )
    .default(['openid'])
    .describe('Scopes that are asked for there, separated by commas; openid is one of them.'),
  oidcToken: z
    .enum(['access_token', 'id_token'], 'must be access_token or id_token')
    .default('access_token')
    .describe(
      'Token of the issuer that the services get: access_token, or id_token where access tokens are no JSON Web Tokens. The ' +
        'services take it as --jwt-issuer and --jwt-audience say.',
    ),
  oidcRedirect: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Address of the console to which the issuer sends people back: https://HOST/login/callback. By default the name that ' +
        'they have opened the console by; name it where a proxy is in front of the console.',
    ),
  oidcCa: file().describe('PEM file with the CAs of that issuer. By default those of Node.js.'),
  oidcClientCert: file().describe('PEM file with the certificate that it asks us for.'),
  oidcClientKey: file().describe('PEM file with the private key of --oidc-client-cert.'),
};

/** Names of these settings. */
export const OIDC_SETTINGS = Object.keys(oidcSettings) as (keyof typeof oidcSettings)[];

/** Values of these settings. */
export type OidcConfig = z.infer<z.ZodObject<typeof oidcSettings>>;
