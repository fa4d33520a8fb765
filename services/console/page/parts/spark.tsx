const WIDTH = 240;
const HEIGHT = 36;

/** Numbers as bars, the newest at the right. Its width does not depend on how many there are. */
export function Spark({ values, slots, label }: { values: readonly number[]; slots: number; label: string }) {
  const highest = Math.max(1, ...values);
  const step = WIDTH / slots;
  const shown = values.slice(-slots);
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <line x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} class="spark-base" />
      {shown.map((value, index) => {
        const height = (value / highest) * (HEIGHT - 2);
        return (
          <rect
            key={index}
            x={WIDTH - (shown.length - index) * step}
            y={HEIGHT - height}
            width={step * 0.8}
            height={height}
          />
        );
      })}
    </svg>
  );
}
