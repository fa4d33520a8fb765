/** Numbers and times as the page writes them, each in a width that changes little while they change. */

/** `0.02 ms`, `3.1 ms`, `412 ms`, `1.8 s`, `4 min`. */
export function duration(ms: number): string {
  if (ms < 0.095) return `${ms.toFixed(2)} ms`;
  if (ms < 99.5) return `${ms.toFixed(ms < 9.95 ? 2 : 1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_570_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${(ms / 3_600_000).toFixed(1)} h`;
  return `${(ms / 86_400_000).toFixed(1)} d`;
}

/** `12 345`, with narrow spaces. */
export function count(value: number): string {
  return String(Math.round(value)).replaceAll(/\B(?=(\d{3})+$)/g, '\u202F');
}

/** `512 B`, `3.1 KiB`, `12 MiB`. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${scaled.toFixed(unit > 0 && scaled < 10 ? 1 : 0)} ${units[unit]}`;
}

/** `0.4/s`, `12/s`, `1 200/s`. */
export function rate(total: number, seconds: number): string {
  const perSecond = total / seconds;
  return `${perSecond > 0 && perSecond < 9.95 ? perSecond.toFixed(1) : count(perSecond)}/s`;
}

/** `97 %`. */
export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** `1 hit`, `2 hits`. */
export function plural(value: number, one: string, several = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : several}`;
}
