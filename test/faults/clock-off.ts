// Preloaded into a process whose clock is to be off by SCALINGNOTE_CLOCK_OFF_MS milliseconds.
const offMs = Number(process.env['SCALINGNOTE_CLOCK_OFF_MS'] ?? 0);
const now = Date.now.bind(Date);
const RealDate = Date;

/** A date without arguments is now, as the clock shows it. */
class OffDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(now() + offMs);
    else super(...(given as [number]));
  }

  static override now(): number {
    return now() + offMs;
  }
}

globalThis.Date = OffDate as DateConstructor;
