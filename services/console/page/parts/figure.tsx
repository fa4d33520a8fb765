/** A number with its name, a title that explains it, and whether it is bad. */
export type Figure = readonly [
  name: string,
  value: string | undefined,
  title?: string | undefined,
  bad?: boolean,
];

/** Numbers, each under its name. @param even - aligns them in columns */
export function Figures({ of, even = false }: { of: readonly Figure[]; even?: boolean }) {
  return (
    <dl class={even ? 'figures figures-even' : 'figures'}>
      {of.map(([name, value, title, bad]) => (
        <div key={name} title={title}>
          <dt>{name}</dt>
          <dd class={bad ? 'bad' : undefined}>{value ?? '–'}</dd>
        </div>
      ))}
    </dl>
  );
}
