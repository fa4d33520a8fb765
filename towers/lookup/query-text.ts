/**
 * Texts that mean the same to everybody become one: canonically equivalent characters are composed (NFC), and white
 * space around is cut. Nothing else is safe for every tower: case and compatibility forms mean something to some
 * tokenizers, and white space between words does. What is keyed is also what is encoded, so that the answer does not
 * depend on who asked first.
 */
export function normalizeQuery(text: string): string {
  return text.normalize('NFC').trim();
}
