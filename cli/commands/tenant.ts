import { Command } from 'commander';
import { DocumentClient, type TenantCounts, type TenantDropped } from '../../clients/index.ts';
import { withDocumentAddress } from '../connection.ts';
import { CliError, note, printResult, table, UsageError } from '../output/print.ts';

interface Flags {
  json?: boolean;
  documentAddress: string;
}

/** Calls of one drop: each works for some seconds, so that this is hours. */
const MAX_CALLS = 10_000;

/** How long one call may take: the service works ten seconds at it, and then counts. */
const CALL_MS = 60_000;

function clientOf({ documentAddress: address }: Flags): DocumentClient {
  return new DocumentClient({ address, waitForReady: false });
}

const list = withDocumentAddress(new Command('list'))
  .description('list tenants and what they have; needs the scope admin')
  .option('-c, --collection <name>', 'only what is in this collection')
  .action(async (flags: Flags & { collection?: string }) => {
    using client = clientOf(flags);
    const { collection } = flags;
    const tenants: TenantCounts[] = [];
    for await (const tenant of client.listTenants(collection === undefined ? {} : { collection })) {
      tenants.push(tenant);
    }
    printResult(flags, tenants, () =>
      tenants.length === 0
        ? 'no documents yet'
        : table(
            ['tenant', 'documents', 'passages'],
            tenants.map(({ tenant, documents, passages }) => [shown(tenant), documents, passages]),
          ),
    );
  });

const usage = withDocumentAddress(new Command('usage'))
  .description('show what a tenant has, and what it may have')
  .argument('[tenant]', 'its name; leave it out for data without a tenant', '')
  .action(async (tenant: string, flags: Flags) => {
    using client = clientOf(flags);
    const found = await client.tenantUsage(tenant);
    printResult(flags, { tenant, ...found }, () =>
      table(
        ['of', 'has', 'may have'],
        [
          ['documents', found.documents, most(found.maxDocuments)],
          ['passages', found.passages, ''],
          ['bytes', found.bytes, most(found.maxBytes)],
          ['ingest streams', found.ingestStreams, most(found.maxIngestStreams)],
          ['requests per second', '', most(found.maxRequestsPerSecond)],
          ['tokens per second', '', most(found.maxTokensPerSecond)],
        ],
      ),
    );
  });

const drop = withDocumentAddress(new Command('drop'))
  .description('remove everything of a tenant from every collection; this cannot be undone')
  .argument('<tenant>', 'its name, exactly')
  .option('-c, --collection <name>', 'only what is in this collection')
  .option('--dry-run', 'count what would go, and remove nothing')
  .option('--yes', 'confirm that all of it may go; without this flag nothing does')
  .action(async (tenant: string, flags: Flags & { collection?: string; dryRun?: boolean; yes?: boolean }) => {
    const { collection, dryRun = false, yes = false } = flags;
    if (dryRun && yes) throw new UsageError('--dry-run removes nothing, so that it takes no --yes');
    if (!dryRun && !yes) {
      throw new UsageError(
        `this removes everything of tenant ${JSON.stringify(tenant)}; look with --dry-run first, then confirm with --yes`,
      );
    }
    using client = clientOf(flags);
    const scope = { tenant, ...(collection !== undefined && { collection }) };
    const total = new Map<string, { documents: number; remaining: number }>();
    let answer: TenantDropped;
    for (let calls = 1; ; calls++) {
      answer = await client.dropTenant(
        { ...scope, ...(dryRun ? { dryRun } : { confirmTenant: tenant }) },
        { timeoutMs: CALL_MS },
      );
      for (const { physicalName, documents, remaining } of answer.drops) {
        const before = total.get(physicalName)?.documents ?? 0;
        total.set(physicalName, { documents: before + documents, remaining });
      }
      if (answer.complete) for (const each of total.values()) each.remaining = 0;
      else if (!dryRun) note(`${left(answer)} left; going on`);
      if (dryRun || answer.complete || calls === MAX_CALLS) break;
    }
    const drops = [...total].map(([physicalName, counts]) => ({ physicalName, ...counts }));
    const documents = drops.reduce((sum, each) => sum + each.documents, 0);
    const result = { tenant, dryRun, documents, remaining: left({ drops }), drops };
    printResult(flags, result, () => {
      if (dryRun) return `${documents} documents of ${shown(tenant)} would go; nothing was removed`;
      return `${documents} documents of ${shown(tenant)} removed, and nothing of it is left; backups are not touched`;
    });
    if (!dryRun && !answer.complete) throw new CliError('something is left; run the command again');
  });

/** `scalingnote tenant list|usage|drop` */
export const tenant = new Command('tenant')
  .description('list tenants, show what one uses, or remove everything of one')
  .addCommand(list)
  .addCommand(usage)
  .addCommand(drop);

function left({ drops }: Pick<TenantDropped, 'drops'>): number {
  return drops.reduce((sum, { remaining }) => sum + remaining, 0);
}

function most(limit: number | undefined): string {
  return limit === undefined ? 'no limit' : String(limit);
}

function shown(name: string): string {
  return name === '' ? '(none)' : name;
}
