/** A moment of the wire. */
export function fromTimestamp({ seconds, nanos }: { seconds: string | number; nanos: number }): Date {
  return new Date(Number(seconds) * 1000 + Math.floor(nanos / 1_000_000));
}
