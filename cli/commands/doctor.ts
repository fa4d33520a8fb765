import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { examine } from '../../store/embedded/doctor/examine.ts';
import type { Examination, Finding } from '../../store/embedded/doctor/findings.ts';
import { compact, repair } from '../../store/embedded/doctor/repair.ts';
import { salvage, type Salvaged } from '../../store/embedded/doctor/salvage.ts';
import { note, printResult, style } from '../output/print.ts';

interface Flags {
  data: string;
  repair?: boolean;
  compact?: boolean;
  salvage?: string;
  json?: boolean;
}

const COLOURS = { damage: 'red', fault: 'yellow', note: 'dim' } as const;

/** `scalingnote doctor` */
export const doctor = new Command('doctor')
  .description('check the files of an embedded store, explain what is wrong, and repair what can be repaired')
  .addOption(
    new Option('--data <dir>', 'folder of the embedded store')
      .env('SCALINGNOTE_DATA')
      .default(join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'scalingnote')),
  )
  .option('--repair', 'mend what can be mended: indexes, counts, leftovers')
  .option('--compact', 'give the room of deleted documents back to the disk')
  .option('--salvage <file>', 'copy every row that can be read into a new file; the old one stays as it is')
  .action((flags: Flags) => {
    const first = examine(flags.data);
    const repaired = flags.repair === true ? repair(flags.data, first.findings) : [];
    const examination = repaired.length > 0 ? examine(flags.data) : first;
    const isDamaged = examination.findings.some(({ level }) => level === 'damage');
    // Rewriting a damaged file spreads the damage.
    const compacted = flags.compact === true && !isDamaged ? compact(flags.data) : undefined;
    const salvaged = flags.salvage === undefined ? undefined : salvage(flags.data, flags.salvage);
    const { findings, ...rest } = examination;
    const report = {
      ...rest,
      ...(compacted && { bytes: compacted.after, compacted }),
      findings: findings.map(plain),
      repaired: repaired.map(plain),
      ...(salvaged && { salvaged }),
    };
    printResult(flags, report, () => render(examination, repaired, compacted, salvaged));
    if (flags.compact === true && isDamaged) note('not compacted: the store is damaged; see above');
    if (findings.some(({ level }) => level !== 'note') || (salvaged?.lost.length ?? 0) > 0)
      process.exitCode = 1;
  });

function plain({ check, level, message, fix }: Finding): Omit<Finding, 'repair'> {
  return { check, level, message, fix };
}

function render(
  { directory, storeId, documents, passages, bytes, openIn, findings }: Examination,
  repaired: readonly Finding[],
  compacted: { before: number; after: number } | undefined,
  salvaged: Salvaged | undefined,
): string {
  const lines = [
    `${directory}: ${storeId ?? 'no store'}, ${documents} documents, ${passages} passages, ${bytes} bytes`,
  ];
  if (openIn !== undefined && openIn.length > 0) lines.push(`in use by process ${openIn.join(', ')}`);
  for (const { message } of repaired) lines.push(`${style('green', 'repaired')}  ${message}`);
  for (const { level, message, fix } of findings) {
    lines.push(`${style(COLOURS[level], level)}  ${message}`, `        ${fix}`);
  }
  if (findings.every(({ level }) => level === 'note')) lines.push(style('green', 'healthy'));
  if (compacted) lines.push(`compacted: ${compacted.before} bytes before, ${compacted.after} after`);
  if (salvaged) {
    lines.push(`salvaged ${salvaged.documents} documents into ${salvaged.file}`);
    for (const line of salvaged.lost) lines.push(`${style('red', 'lost')}  ${line}`);
    lines.push(salvaged.next);
  }
  return lines.join('\n');
}
