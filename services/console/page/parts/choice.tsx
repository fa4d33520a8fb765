import type { Signal } from '@preact/signals';

/** The possible values of a choice, how people call each, and what explains it. */
export type Options<Value> = readonly (readonly [value: Value, label: string, title?: string])[];

type Props<Value> = { label: string; options: Options<Value>; chosen: Signal<Value> };

/** A choice of one among a few that all are in sight: radio buttons, so that arrow keys move among them. */
export function Choice<Value extends string>({ label, options, chosen }: Props<Value>) {
  return (
    <fieldset class="choice">
      <legend class="unseen">{label}</legend>
      {options.map(([value, name, title]) => (
        <label key={value} title={title}>
          <input
            type="radio"
            name={label}
            checked={value === chosen.value}
            onChange={() => (chosen.value = value)}
          />
          <span>{name}</span>
        </label>
      ))}
    </fieldset>
  );
}
