import { ruleOf } from '../../access/rules.ts';
import type { Schema } from './schemas.ts';

/** How a caller says who it is. */
export const SECURITY_SCHEMES: Readonly<Record<string, Schema>> = {
  apiKey: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'sn_ID_SECRET',
    description: 'A key of `scalingnote keys create`, in the header `authorization: Bearer sn_...`.',
  },
  clientCertificate: {
    type: 'mutualTLS',
    description: 'A certificate of the authority that `--tls-client-ca` names, with rights of its own.',
  },
};

/** What an operation says of its callers. */
export interface Security {
  /** One of these is enough. */
  security: Schema[];
  /** The scope that a credential needs; `any` for whatever it has. */
  'x-scope': string;
}

/** What a method asks of its callers, from its descriptor. @param path `/scalingnote.v1.QueryService/Search` */
export function securityOf(path: string): Security {
  const { need } = ruleOf(path);
  const scopes = need === 'any' ? [] : [need];
  const schemes = Object.keys(SECURITY_SCHEMES).map((name) => ({ [name]: scopes }));
  // A service without keys asks nobody.
  return { security: [...schemes, {}], 'x-scope': need };
}

/** The same in words. */
export function scopeInWords(path: string): string {
  const { need } = ruleOf(path);
  const what = need === 'any' ? 'any credential' : `a credential with the scope \`${need}\``;
  return `Where the service has keys, this takes ${what}.`;
}
