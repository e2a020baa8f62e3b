// Progress for people: a bar on a terminal, plain lines every few seconds elsewhere, nothing when silent.
// Shows loss, tokens per second, time left and the load of each expert as a row of small bars. Clock and stream are
// arguments; speed is taken over the most recent steps, as the first ones (compilation) and old phases mislead.

/** A stream that may be a terminal, with its width then. */
export type Terminal = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

export interface ProgressReport {
  /** Steps done. */
  step: number;
  loss: number;
  /** Tokens of this step. */
  tokens: number;
  /** Share or count of slots per expert; absent in a dense phase. */
  expertLoad?: ArrayLike<number>;
}

export interface ProgressSettings {
  /** Steps in the run. */
  total: number;
  /** Steps done before (resume). */
  from: number;
  /** Usually stderr: stdout stays free for results. */
  stream: Terminal;
  /** Milliseconds, any origin. */
  clock: () => number;
  /** True for --json and --quiet. */
  silent: boolean;
  /** Seconds between plain lines where there is no terminal. */
  every: number;
}

export interface Progress {
  update(report: ProgressReport): void;
  /** A line of its own (validation, checkpoint, upcycling) that stays above the bar. */
  say(line: string): void;
  /** Ends the bar or prints the last line. */
  stop(): void;
}

const levels = '▁▂▃▄▅▆▇█';

/** One character per value, from zero (lowest) to the largest value (full). */
export function sparkline(values: ArrayLike<number>): string {
  const largest = Math.max(...Array.from(values), Number.MIN_VALUE);
  return Array.from(values, value => levels[Math.round((value / largest) * (levels.length - 1))]).join('');
}

/** `8 s`, `3 min 05 s`, `2 h 07 min`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

export interface Speed {
  tokensPerSecond: number;
  stepsPerSecond: number;
}

/** Speed over the last `window` steps. The first report only starts the watch; until the second there is no speed (null). */
export function createSpeedometer(window = 20): (time: number, step: number, tokens: number) => Speed | null {
  const marks: { time: number; step: number; tokens: number }[] = [];
  return (time, step, tokens) => {
    marks.push({ time, step, tokens });
    if (marks.length > window + 1) marks.shift();
    const seconds = (time - marks[0].time) / 1000;
    if (seconds <= 0) return null;
    const counted = marks.slice(1).reduce((sum, mark) => sum + mark.tokens, 0);
    return { tokensPerSecond: counted / seconds, stepsPerSecond: (step - marks[0].step) / seconds };
  };
}

/** The words of one report: `loss 3.2101 · 1520 tokens/s · 3 min 05 s left · experts ▃▁▅▂█▄▂`. */
export function describe(report: ProgressReport, speed: Speed | null, total: number): string {
  const parts = [`loss ${report.loss.toFixed(4)}`];
  if (speed) {
    parts.push(`${speed.tokensPerSecond.toFixed(0)} tokens/s`);
    parts.push(`${duration((total - report.step) / speed.stepsPerSecond)} left`);
  }
  if (report.expertLoad) parts.push(`experts ${sparkline(report.expertLoad)}`);
  return parts.join(' · ');
}

const silence: Progress = { update() {}, say() {}, stop() {} };

/** `██████░░ 20/50 · words` within `columns`: the bar takes 6 to 24 columns, whatever the words leave. */
export function barLine(done: number, total: number, words: string, columns: number): string {
  const rest = ` ${done}/${total} · ${words}`;
  const size = Math.min(24, Math.max(6, columns - 1 - rest.length));
  const full = Math.round((size * done) / total);
  return ('█'.repeat(full) + '░'.repeat(size - full) + rest).slice(0, columns - 1);
}

/** A line of a terminal that is drawn over itself. */
export const redraw = (stream: Terminal, line: string): void => void stream.write(`\r\x1b[K${line}`);

/** At most ten drawings a second. */
const DRAW_EVERY = 100;

function createBar({ total, from, stream, clock }: ProgressSettings): Progress {
  const measure = createSpeedometer();
  let [step, words] = [from, 'starting'];
  let drawn = Number.NEGATIVE_INFINITY;
  const draw = (): void => {
    redraw(stream, barLine(step, total, words, stream.columns ?? 80));
    drawn = clock();
  };
  draw();
  return {
    update(report) {
      words = describe(report, measure(clock(), report.step, report.tokens), total);
      step = report.step;
      if (clock() - drawn >= DRAW_EVERY || step === total) draw();
    },
    say(line) {
      redraw(stream, `${line}\n`);
      draw();
    },
    stop() {
      draw();
      stream.write('\n');
    },
  };
}

function createLines({ total, stream, clock, every }: ProgressSettings): Progress {
  const measure = createSpeedometer();
  let lastLine = Number.NEGATIVE_INFINITY;
  let waiting: string | null = null;
  const say = (line: string): void => void stream.write(`${line}\n`);
  return {
    update(report) {
      const now = clock();
      const speed = measure(now, report.step, report.tokens);
      waiting = `step ${report.step}/${total} · ${describe(report, speed, total)}`;
      if (now - lastLine < every * 1000) return;
      say(waiting);
      lastLine = now;
      waiting = null;
    },
    say,
    stop() {
      if (waiting) say(waiting);
      waiting = null;
    },
  };
}

/** A bar if the stream is a terminal, lines if not, nothing if silent. Call stop() however the run ends. */
export function createProgress(settings: ProgressSettings): Progress {
  if (settings.silent) return silence;
  return settings.stream.isTTY ? createBar(settings) : createLines(settings);
}
