/** What h2spec is run against: our port without and with TLS, and a bare server of `node:http2`. */
export type Target = 'h2c' | 'tls' | 'node';

/** What it found. */
export interface Outcome {
  target: Target;
  cases: number;
  /** Cases that failed, and those that it could not try. */
  notPassed: readonly string[];
}

/** A case that is known not to pass. */
export interface KnownFailing {
  name: string;
  /** Servers of ours that it concerns. */
  targets: readonly Target[];
  /** Whether a bare server of node does not pass it either: then it can't be mended from outside of node. */
  isNodes: boolean;
}

/**
 * Reads the list: on each line a case as h2spec names it, `http2/5.1/8`, and who does not pass it, `h2c,tls,node`.
 *
 * @throws {Error} for a line that is not so
 */
export function knownFailing(text: string): KnownFailing[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [, name, listed] = /^(\S+)\s+((?:h2c|tls|node)(?:,(?:h2c|tls|node))*)$/.exec(line) ?? [];
    if (name === undefined || listed === undefined)
      throw new Error(`known-failing.txt: can't read "${line}"`);
    const all = listed.split(',') as Target[];
    return { name, targets: all.filter((each) => each !== 'node'), isNodes: all.includes('node') };
  });
}

/** The cases of a report in JUnit's form, and those of them that did not pass, named as on h2spec's command line. */
export function failuresIn(report: string): Pick<Outcome, 'cases' | 'notPassed'> {
  const counts = new Map<string, number>();
  const notPassed: string[] = [];
  let cases = 0;
  for (const [, group, rest] of report.matchAll(/<testcase package="([^"]+)"[^>]*>([^]*?)<\/testcase>/g)) {
    const index = (counts.get(group!) ?? 0) + 1;
    counts.set(group!, index);
    cases++;
    if (rest!.trim() !== '') notPassed.push(`${group}/${index}`);
  }
  if (cases === 0) throw new Error('the report has no case');
  return { cases, notPassed };
}

/** Compares what was found with what is known. */
export function judge(
  outcomes: readonly Outcome[],
  known: readonly KnownFailing[],
): { complaints: string[] } {
  const complaints: string[] = [];
  for (const { target, notPassed } of outcomes) {
    const isExpected = ({ targets, isNodes }: KnownFailing): boolean =>
      target === 'node' ? isNodes : targets.includes(target);
    const expected = new Set(known.filter(isExpected).map(({ name }) => name));
    const found = new Set(notPassed);
    if (target !== 'node') {
      for (const name of found) {
        if (!expected.has(name))
          complaints.push(`${target}: ${name} does not pass, and is not known to fail`);
      }
    }
    for (const name of expected) {
      if (!found.has(name)) complaints.push(`${target}: ${name} passes now; take it from known-failing.txt`);
    }
  }
  return { complaints };
}
