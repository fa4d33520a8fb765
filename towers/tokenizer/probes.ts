/** The last code point that has letters, but for planes of private use and variation selectors. */
const LAST_LETTER = 0x33480;

/** Code points of a probe of one block. */
const BLOCK = 0x80;

/** Tokens of the vocabulary that are probed: evenly among all of them, and the first and the last. */
const VOCABULARY_PROBES = 400;

const WORDS =
  'the query tower encodes documents, in one space. What is it? Zürich don\u2019t naïve x2 3.14'.split(' ');

/** What tokenizers are known to differ on, by themselves and among words. */
const HOSTILE = [
  // Cases that are no letter for letter.
  ['ΟΔΟΣ', 'ΣΑΣ ΑΣ. Σ', 'ΌΔΟΣ', 'İstanbul Iı', 'STRASSE ẞ ß', 'ǅ ǆ Ǆ', 'ŉ ǰ ΐ', 'ᾳ ᾼ', 'ſ K Å Ω', '𐐀𐐨 𞤀𞤢'],
  // Composed, decomposed, ligatures, widths.
  [
    'é e\u0301',
    'e\u0301\u0323 e\u0323\u0301',
    'Å Å Å',
    'ﬁ ﬂ ﬃ ﷺ',
    '１２３ ＡＢＣ',
    'か\u3099 が',
    '각 가\u11a8',
    'q\u0307\u0323',
    '\u0344',
  ],
  // Ideographs, inside the first plane and beyond, and scripts without spaces.
  ['東京都', '𠀀𠀁a', 'a𪛐b', '丽', 'ภาษาไทย', 'ខ្មែរ', 'မြန်မာ', 'हिन्दी', 'العربية', 'עברית', '한국어'],
  // Emoji, flags, keycaps.
  ['👨‍👩‍👧‍👦', '🏳️‍🌈', '🇩🇪🇫🇷🇩', '👍🏽', '1️⃣', '❤️ ☃'],
  // Controls, white space of all kinds, marks of direction.
  [
    '\0',
    'a\0b',
    '\u0007',
    '\u007f\u0085',
    '\u00ad',
    '\u200b\u200c\u200d',
    '\u200e\u202e\u2066',
    '\ufeff',
    '\ufffd',
    '\ue000',
  ],
  [
    '\r\n',
    '\n\n\n',
    '\t \t',
    '\u00a0',
    '\u1680',
    '\u180e',
    '\u2003 \u2009',
    '\u2028\u2029',
    '\u202f\u205f\u3000',
    '  ',
    '   ',
  ],
  // What stands for a space, a byte or the inside of a word in vocabularies.
  ['▁', '▁the', 'a▁b', '▁▁', 'Ġthe', '##s', '<0x41>', '</w>', '�'],
  // Numbers and punctuation.
  [
    '1234567890',
    '1,000,000.50',
    '²³¹',
    '½',
    '٣٤٥',
    '१२३',
    'Ⅷ',
    '①',
    '𝟘𝟙𝟚',
    '...',
    '?!',
    '—…“”',
    "'s 'LL",
    'a-b_c',
    '$€¥',
    '`^~',
  ],
].flat();

/** Runs of one thing. */
const RUNS = ['a', 'A', ' ', '\n', '1', '.', '中', '😀', '\u0301', '▁', 'ab', '=', '\u200d'];

/** What of a `tokenizer.json` is probed. */
interface Probed {
  model?: { vocab?: Readonly<Record<string, number>> | readonly (readonly [string, number])[] };
  added_tokens?: readonly { content: string }[];
}

/**
 * Texts that tell two implementations of a tokenizer apart, some thousands: letters of every block of Unicode, tokens of
 * the vocabulary, special tokens inside text, and what is known to be hard. The same for the same tokenizer.
 *
 * @param tokenizer parsed `tokenizer.json`
 */
export function probesOf(tokenizer: object): string[] {
  const { model, added_tokens: added = [] } = tokenizer as Probed;
  const vocab = model?.vocab ?? {};
  const tokens = Array.isArray(vocab) ? vocab.map(([token]) => token as string) : Object.keys(vocab);
  const step = Math.max(1, tokens.length / VOCABULARY_PROBES);
  const some = Array.from(
    { length: Math.ceil(tokens.length / step) },
    (_, at) => tokens[Math.floor(at * step)]!,
  );
  const texts = [
    '',
    WORDS.join(' '),
    ...HOSTILE.flatMap((text) => [text, `the ${text} tower`, `the${text}tower`, `${text}. ${text}`]),
    ...RUNS.flatMap((unit) => [unit.repeat(3), unit.repeat(150), `the ${unit.repeat(40)} end`]),
    ...blocks(),
    ...some.map(
      (token, index) => `${WORDS[index % WORDS.length]!} ${token} ${tokens[(index * 7919) % tokens.length]!}`,
    ),
    ...some.map((token, index) => `${token}${WORDS[index % WORDS.length]!} ${token.toUpperCase()}`),
    ...added
      .slice(0, VOCABULARY_PROBES)
      .flatMap(({ content }) => [
        content,
        `the ${content} tower`,
        `the${content}tower ${content}, ${content}  ${content.toUpperCase()}`,
        ` ${content}\n${content}a ${content} 1`,
      ]),
    ...HOSTILE.map(
      (text, index) =>
        `${text}${HOSTILE[(index * 31 + 7) % HOSTILE.length]!} ${HOSTILE[(index * 17 + 3) % HOSTILE.length]!}`,
    ),
  ];
  return [...new Set(texts.map((text) => text.toWellFormed()))];
}

/** All assigned characters, a stretch of a block at a time, apart from the ideographs: of those, every hundredth. */
function blocks(): string[] {
  const texts: string[] = [];
  for (const [from, to] of [
    [0, LAST_LETTER],
    [0xe0000, 0xe0200],
    [0xf0000, 0xf0040],
  ] as const) {
    for (let start = from; start < to; start += BLOCK) {
      const many = (start >= 0x3400 && start < 0xd800) || start >= 0x17000;
      if (many && (start / BLOCK) % 8 !== 0 && !(start >= 0x1d000 && start < 0x20000)) continue;
      const letters = Array.from({ length: BLOCK }, (_, at) => String.fromCodePoint(start + at)).filter(
        (letter) => !/[\p{Cs}\p{Cn}]/u.test(letter),
      );
      if (letters.length === 0) continue;
      texts.push(`the ${letters.join('')} tower`, letters.map((letter) => `a${letter}b`).join('-'));
      // Each letter is a word of its own here, and words are what takes time.
      if ((start / BLOCK) % 8 === 0) texts.push(letters.join(' '));
    }
  }
  return texts;
}
