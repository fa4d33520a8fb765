import { createRequire } from 'node:module';
import { foldCase } from './fold.ts';

/**
 * Languages whose words are stemmed: ISO 639-1 code, and what the libraries call it. Snowball's algorithms, as
 * `@orama/stemmers` has them; English by Porter's first one, as in Lucene. `languages.test.ts` holds each to what Snowball's
 * own Python package makes of some words.
 */
const STEMMED: Readonly<Record<string, string>> = {
  ar: 'arabic',
  da: 'danish',
  de: 'german',
  el: 'greek',
  en: 'english',
  es: 'spanish',
  fi: 'finnish',
  fr: 'french',
  hu: 'hungarian',
  id: 'indonesian',
  it: 'italian',
  nl: 'dutch',
  no: 'norwegian',
  pt: 'portuguese',
  ro: 'romanian',
  ru: 'russian',
  sv: 'swedish',
  tr: 'turkish',
};

/**
 * Languages that a collection or a query may be in: the codes of ISO 639, of two letters where there is one, that Unicode's
 * CLDR 48 has names for. A list of our own: that of `Intl` changes with Node.js, and the API must not.
 */
const CODES = `
  aa ab ace ach ada ady ae aeb af afh agq ain ak akk akz ale aln alt am an ang ann anp ar arc arn aro arp arq ars
  arw ary arz as asa ase ast atj av avk awa ay az ba bal ban bar bas bax bbc bbj be bej bem bew bez bfd bfq bg bgc
  bgn bho bi bik bin bjn bkm bla blo blt bm bn bo bpy bqi br bra brh brx bs bss bua bug bum byn byv ca cad car cay
  cch ccp ce ceb cgg ch chb chg chk chm chn cho chp chr chy cic ckb clc co cop cps cr crg crh crj crk crl crm crr
  crs cs csb csw cu cv cy da dak dar dav de del den dgr din dje doi dsb dtp dua dum dv dyo dyu dz dzg ebu ee efi
  egl egy eka el elx en enm eo es esu et eu ewo ext fa fan ff fi fil fit fj fo fon fr frc frm fro frp frr frs fur
  fy ga gaa gag gan gay gba gbz gd gez gil gl glk gmh gn goh gon gor got grb grc gsw gu guc gur guz gv gwi ha hai
  hak haw hax he hi hif hil hit hmn hnj ho hr hsb hsn ht hu hup hur hy hz ia iba ibb id ie ig ii ik ikt ilo inh io
  is it iu izh ja jam jbo jgo jmc jpr jrb jut jv ka kaa kab kac kaj kam kaw kbd kbl kcg kde kea kek ken kfo kg kgp
  kha kho khq khw ki kiu kj kk kkj kl kln km kmb kn ko koi kok kos kpe kr krc kri krj krl kru ks ksb ksf ksh ku
  kum kut kv kw kwk kxv ky la lad lag lah lam lb lez lfn lg li lij lil liv lkt lmo ln lo lol lou loz lrc lsm lt
  ltg lu lua lui lun luo lus luy lv lzh lzz mad maf mag mai mak man mas mde mdf mdr men mer mfe mg mga mgh mgo mh
  mi mic min mk ml mn mnc mni moe moh mos mr mrj ms mt mua mul mus mwl mwr mwv my mye myv mzn na nan nap naq nd
  nds ne new ng nia niu njo nl nmg nn nnh no nog non nov nqo nr nso nus nv nwc ny nym nyn nyo nzi oc oj ojb ojc
  ojs ojw oka om or os osa ota pa pag pal pam pap pau pcd pcm pdc pdt peo pfl phn pi pis pl pms pnt pon pqm prg
  pro ps pt qu quc qug raj rap rar rgn rhg rif rm rn ro rof rom rtm ru rue rug rup rw rwk sa sad sah sam saq sas
  sat saz sba sbp sc scn sco sd sdc sdh se see seh sei sel ses sg sga sgs shi shn shu si sid sk sl slh sli sly sm
  sma smj smn sms sn snk so sog sq sr srn srr ss ssy st stq str su suk sus sux sv sw swb syc syr szl ta tce tcy te
  tem teo ter tet tg tgx th tht ti tig tiv tk tkl tkr tlh tli tly tmh tn to tog tok tpi tr tru trv trw ts tsd tsi
  tt ttm ttt tum tvl twq ty tyv tzm udm ug uga uk umb ur uz vai ve vec vep vi vls vmf vmw vo vot vro vun wa wae
  wal war was wbp wo wuu xal xh xmf xnr xog yao yap yav ybb yi yo yrl yue za zap zbl zea zen zgh zh zu zun zxx zza
`;

/** What is taken for the language of a Latin text that gives no hint. */
const UNKNOWN_LATIN = 'en';

/** A language with what is known of it. */
export interface Language {
  code: string;
  stem(word: string): string;
  /** Words that say nothing by themselves, as `foldCase` leaves them. */
  stopWords: ReadonlySet<string>;
}

const require = createRequire(import.meta.url);
const loaded = new Map<string, Language>();

/** Whether words of a language are stemmed. @param code ISO 639-1 */
export function isStemmed(code: string): boolean {
  return Object.hasOwn(STEMMED, code);
}

const known: ReadonlySet<string> = new Set(CODES.trim().split(/\s+/));

/** Whether it is the code of a language, spelled as requests spell it. */
export function isKnown(code: string): boolean {
  return known.has(code);
}

/** Codes of the languages that a request may name. */
export function knownLanguages(): string[] {
  return [...known];
}

/** Codes of the languages whose words are stemmed. */
export function stemmedLanguages(): string[] {
  return Object.keys(STEMMED);
}

/** A language by its code; one without a stemmer has no stop words either. */
export function languageOf(code: string): Language {
  let language = loaded.get(code);
  if (!language) {
    language = isStemmed(code) ? load(code) : { code, stem: (word) => word, stopWords: new Set() };
    loaded.set(code, language);
  }
  return language;
}

/** Loaded when the first text of the language comes: a service needs few of them. */
function load(code: string): Language {
  const name = STEMMED[code]!;
  const { stemmer } = require(`@orama/stemmers/${name}`) as { stemmer: (word: string) => string };
  const { stopwords } = require(`@orama/stopwords/${name}`) as { stopwords: readonly string[] };
  const stopWords = new Set(stopwords.flatMap((word) => foldCase(word).split(/['’\s]/)));
  stopWords.delete('');
  return { code, stem: stemmer, stopWords };
}

/** Languages by the script that most of their letters have, where one script says enough. */
const BY_SCRIPT: readonly (readonly [RegExp, string])[] = [
  [/\p{Script=Arabic}/u, 'ar'],
  [/\p{Script=Greek}/u, 'el'],
  [/\p{Script=Cyrillic}/u, 'ru'],
];
const LATIN = /\p{Script=Latin}/u;

/** Fewer stop words of a language are chance: words of it in another one, abbreviations, names. */
const LEAST_HINTS = 2;

/** How much more a text has to say of another language than of English. */
const CLEARLY = 1.5;

/** Words that are looked at: more seldom change the answer. */
const LOOKED_AT = 200;

/**
 * The language that a text is probably in: of the stemmed ones that whose stop words it says most, each the less the more
 * languages have it. A script of one of them decides alone. A Latin text is taken for English, unless it says
 * {@link LEAST_HINTS} different stop words of another language, and clearly more than English ones.
 *
 * @param words as `foldCase` leaves them
 * @returns `''` for a script that none of them has
 */
export function detectLanguage(words: Iterable<string>): string {
  const { weights } = hints();
  const scores = new Map<string, number>();
  let looked = 0;
  let latin = 0;
  const scripts = new Map<string, number>();
  const said = new Set<string>();
  const hinted = new Map<string, number>();
  for (const word of words) {
    if (++looked > LOOKED_AT) break;
    if (LATIN.test(word)) latin++;
    else {
      const found = BY_SCRIPT.find(([script]) => script.test(word));
      if (found) scripts.set(found[1], (scripts.get(found[1]) ?? 0) + 1);
    }
    if (said.has(word)) continue;
    said.add(word);
    for (const [code, weight] of weights.get(word) ?? []) {
      scores.set(code, (scores.get(code) ?? 0) + weight);
      hinted.set(code, (hinted.get(code) ?? 0) + 1);
    }
  }
  const [script = '', times = 0] = best(scripts) ?? [];
  if (times > latin) return script;
  if (latin === 0) return '';
  const [language = UNKNOWN_LATIN, score = 0] = best(scores) ?? [];
  const isClear = score > CLEARLY * (scores.get(UNKNOWN_LATIN) ?? 0);
  return isClear && hinted.get(language)! >= LEAST_HINTS ? language : UNKNOWN_LATIN;
}

/** The code with the highest count; of equal ones English, then the first by name. */
function best(counts: ReadonlyMap<string, number>): [string, number] | undefined {
  const rank = (code: string): string => (code === UNKNOWN_LATIN ? '' : code);
  let most: [string, number] | undefined;
  for (const [code, count] of counts) {
    const isMore = !most || count > most[1] || (count === most[1] && rank(code) < rank(most[0]));
    if (isMore) most = [code, count];
  }
  return most;
}

let made: { weights: ReadonlyMap<string, readonly (readonly [string, number])[]> } | undefined;

/** For each stop word the Latin languages that have it, and how much it says for each. */
function hints(): NonNullable<typeof made> {
  if (made) return made;
  const languages = new Map<string, string[]>();
  for (const code of stemmedLanguages()) {
    if (BY_SCRIPT.some(([, own]) => own === code)) continue;
    for (const word of languageOf(code).stopWords) {
      const having = languages.get(word);
      if (having) having.push(code);
      else languages.set(word, [code]);
    }
  }
  const weights = new Map<string, (readonly [string, number])[]>();
  for (const [word, codes] of languages) {
    // A letter alone, as a list's number or an initial, says little.
    const weight = (word.length === 1 ? 0.5 : 1) / codes.length;
    weights.set(
      word,
      codes.map((code) => [code, weight] as const),
    );
  }
  made = { weights };
  return made;
}
