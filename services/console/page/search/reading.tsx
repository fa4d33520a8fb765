import { completed } from '../../shared/complete.ts';
import { type Column, query } from './state.ts';

/** What the words of the query were taken for; a click puts it into the box. */
export function Reading({ found }: { found: NonNullable<Column['found']> }) {
  const { didYouMean, completions = [], query: asked } = found;
  // With what was typed since, it may be another word.
  const isOld = asked !== query.value;
  return (
    <>
      {didYouMean !== undefined && (
        <Offer label="Did you mean" texts={[didYouMean]} take={(text) => text} disabled={isOld} />
      )}
      {completions.length > 0 && (
        <Offer
          label="May become"
          texts={completions}
          take={(word) => completed(asked, word)}
          disabled={isOld}
        />
      )}
    </>
  );
}

type OfferProps = {
  label: string;
  texts: readonly string[];
  take: (text: string) => string;
  disabled: boolean;
};

function Offer({ label, texts, take, disabled }: OfferProps) {
  return (
    <p class="offer" role="note">
      <span class="muted">{label}</span>
      {texts.map((text) => (
        <button
          key={text}
          type="button"
          class="chip"
          disabled={disabled}
          onClick={() => (query.value = take(text))}
        >
          {text}
        </button>
      ))}
    </p>
  );
}
