import type { Caller } from '../access/caller.ts';

/** The tenant of a credential that is for one alone; `undefined` for one that may name several, or data without a tenant. */
export function onlyTenant({ tenants: { texts } }: Pick<Caller, 'tenants'>): string | undefined {
  const [tenant, other] = texts;
  return other === undefined && tenant !== undefined && tenant !== '' && !tenant.includes('*')
    ? tenant
    : undefined;
}

/**
 * Whose call it is, as far as its head says: of the one tenant of its credential, of the credential, or where nobody asks for
 * one, of the address that it comes from. Flows of calls take turns by this until their messages say more.
 */
export function flowOf(caller: Caller, address: string): string {
  const tenant = onlyTenant(caller);
  if (tenant !== undefined) return tenantFlow(tenant);
  return caller.kind === 'anonymous' ? `address ${address}` : `credential ${caller.id}`;
}

/** The flow of a tenant's calls, once it is known. */
export function tenantFlow(tenant: string): string {
  return `tenant ${tenant}`;
}
