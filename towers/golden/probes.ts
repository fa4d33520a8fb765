/**
 * The texts that golden vectors are made of, by version of the list. A list that was released never changes, or every
 * record made with it would be void: a better list gets the next number, and the old one stays.
 *
 * They are ours, written for this. Together they touch what differs between two models, two exports of one model or two
 * tokenizers: short and long texts, scripts, accents and capitals, code, numbers, signs, pairs that differ in one word.
 */
export const PROBE_LISTS: ReadonlyMap<number, readonly string[]> = new Map([[1, listOne()]]);

/** The list that new records are made with. */
export const PROBES_VERSION = 1;

/** The texts of {@link PROBES_VERSION}. */
export const PROBES: readonly string[] = PROBE_LISTS.get(PROBES_VERSION)!;

function listOne(): string[] {
  const harbour =
    'The harbour master keeps two books. In the first stands every ship that came in, with its draught, its cargo and ' +
    'the hour of the tide; in the second stands what each of them owed, and whether it was paid before the lines were ' +
    'cast off. ';
  const sensor =
    'A sensor reports once a minute. When three reports in a row are missing, the controller marks it as silent, asks ' +
    'its neighbours for their readings, and fills the gap with their weighted mean until the sensor is heard again. ';
  return [
    // Hardly anything.
    'a',
    '.',
    '?!',
    '—',
    '7',
    '🙂',
    'no',
    'the the the the the the the the',
    // One word, and its neighbours.
    'river',
    'River',
    'RIVER',
    'rivers',
    'bank',
    'astronomy',
    'antidisestablishmentarianism',
    'qwrtzpsdfgh',
    // Questions, as people ask them.
    'who paid for the bridge?',
    'how long does bread keep in the freezer',
    'what is the boiling point of ethanol at 2000 m',
    'cheap train tickets Lyon Turin saturday morning',
    'why does my tomato plant have yellow leaves',
    // Pairs that differ in little.
    'The committee approved the budget on Tuesday.',
    'The committee rejected the budget on Tuesday.',
    'The patient was given 5 mg of the drug twice a day.',
    'The patient was given 50 mg of the drug twice a day.',
    'The dog chased the cat across the yard.',
    'The cat chased the dog across the yard.',
    'All of the doors were locked.',
    'None of the doors were locked.',
    // Sentences of several fields.
    'Copper conducts heat better than iron, and silver better than both.',
    'The tenant shall give notice in writing no later than three months before the end of the term.',
    'Glaciers carve U-shaped valleys, whereas rivers carve valleys in the shape of a V.',
    'Enzymes lower the activation energy of a reaction without being used up by it.',
    'Interest rates rose by a quarter of a point, the first increase in nine years.',
    'She tuned the cello, closed her eyes, and waited for the oboe.',
    // Languages and scripts.
    'Der Zug nach Köln fährt heute von Gleis neun statt von Gleis drei ab.',
    'Les élèves ont planté trente-deux pommiers derrière l’école.',
    'El río creció durante la noche y se llevó el puente de madera.',
    'Η βιβλιοθήκη ανοίγει στις εννέα το πρωί.',
    'ΚΑΛΗΜΕΡΑ ΣΑΣ',
    'Поезд опоздал на двадцать минут из-за снега.',
    'Kütüphane İstanbul’un eski bir mahallesinde, IĞDIR Sokağı’ndadır.',
    'تغلق المكتبة أبوابها في الساعة الثامنة مساءً.',
    'הספרייה נסגרת בשעה שמונה בערב.',
    'पुस्तकालय सुबह नौ बजे खुलता है।',
    '図書館は朝九時に開きます。',
    '图书馆早上九点开门,星期一休息。',
    '도서관은 아침 아홉 시에 문을 엽니다.',
    'Thư viện mở cửa lúc chín giờ sáng.',
    'naïve café, cafe\u0301 nai\u0308ve, ﬁve Å and Å',
    // Code, data, numbers, signs.
    'for (let i = 0; i < rows.length; i++) { total += rows[i].price * rows[i].count; }',
    'SELECT name, count(*) FROM visits WHERE day >= date("now", "-7 days") GROUP BY name;',
    'def mean(values):\n    return sum(values) / len(values) if values else None',
    '{"id": 4711, "tags": ["red", "round"], "price": 12.50, "sold": false}',
    '3.14159 2.71828 1.41421 -273.15 6.022e23 0x1F4A9 1,000,000',
    'https://example.org/a/path?query=1&other=two#part',
    'E = m·c², ∑ᵢ xᵢ ≤ √n, α→β, 25 °C ± 0.5 %',
    '👩‍🚀 flew to the 🌙 and back 🇫🇷',
    'line one\n\n\tline two    with   gaps\r\nline three',
    // Long ones: a paragraph, a passage as long as a usual window, and one that small windows cut.
    harbour + sensor,
    (harbour + sensor).repeat(3),
    (sensor + harbour).repeat(12),
  ];
}
