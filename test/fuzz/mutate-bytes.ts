import type { Random } from 'fast-check';

/** Numbers that lengths and offsets lie with. */
const LIES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** Bytes that differ from those that are given in one to four places: changed, cut, doubled, with lies in place of lengths. */
export function mutatedBytes(bytes: Uint8Array, random: Random, within = bytes.length): Buffer {
  let mutated = Buffer.from(bytes);
  const most = (): number => Math.max(0, Math.min(within, mutated.length) - 1);
  for (let change = random.nextInt(1, 4); change > 0; change--) {
    const at = random.nextInt(0, most());
    switch (random.nextInt(0, 5)) {
      case 0:
        mutated = mutated.subarray(0, at);
        break;
      case 1:
        if (mutated.length > 0) mutated[at] = random.nextInt(0, 255);
        break;
      case 2:
        if (mutated.length >= 4) {
          mutated.writeUInt32LE(LIES[random.nextInt(0, LIES.length - 1)]!, Math.min(at, mutated.length - 4));
        }
        break;
      case 3: {
        const end = Math.min(mutated.length, at + random.nextInt(1, 64));
        mutated = Buffer.concat([mutated.subarray(0, end), mutated.subarray(at)]);
        break;
      }
      case 4: {
        const end = Math.min(mutated.length, at + random.nextInt(1, 64));
        mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(end)]);
        break;
      }
      default:
        if (mutated.length > 0) mutated[at] = mutated[at]! ^ (1 << random.nextInt(0, 7));
    }
  }
  return mutated;
}
