import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  barLine,
  createProgress,
  createSpeedometer,
  duration,
  sparkline,
  describe as words,
} from '../../src/train/progress.ts';

function paper(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 120 });
  return { stream, text: (): string => String(stream.read() ?? '') };
}
const report = (step: number, tokens = 100) => ({ step, loss: 3.21012, tokens, expertLoad: [1, 0, 2, 4] });

describe('progress', () => {
  it('a row of bars: zero is the lowest, the largest is full', () => {
    expect(sparkline([0, 1, 2, 4])).toBe('▁▃▅█');
    expect(sparkline([0, 0])).toBe('▁▁');
    expect(sparkline(new Float32Array([0.5, 0.5]))).toBe('██');
  });

  it('durations', () => {
    expect([8.4, 59.6, 185, 3599.7, 7620].map(duration)).toEqual([
      '8 s',
      '1 min 00 s',
      '3 min 05 s',
      '1 h 00 min',
      '2 h 07 min',
    ]);
  });

  it('speed and time left follow the recent steps: 10 slow steps of 10 s, then 20 of 1 s', () => {
    const measure = createSpeedometer(20);
    expect(measure(0, 0, 100)).toBeNull();
    for (let step = 1; step <= 10; step++) measure(step * 10_000, step, 100);
    let speed = null;
    for (let step = 11; step <= 30; step++) speed = measure(100_000 + (step - 10) * 1000, step, 100);
    expect(speed).toEqual({ tokensPerSecond: 100, stepsPerSecond: 1 });
    expect(words(report(30), speed, 95)).toBe('loss 3.2101 · 100 tokens/s · 1 min 05 s left · experts ▃▁▅█');
  });

  it('without a terminal: a line at once, then one every n seconds, and the last at the end', () => {
    let now = 0;
    const { stream, text } = paper(false);
    const progress = createProgress({ total: 50, from: 0, stream, clock: () => now, silent: false, every: 10 });
    for (let step = 1; step <= 25; step++) {
      progress.update(report(step));
      now += 1000;
    }
    progress.say('saved step 25');
    progress.stop();
    const lines = text().split('\n');
    expect(lines[0]).toBe('step 1/50 · loss 3.2101 · experts ▃▁▅█');
    expect(lines[1]).toBe('step 11/50 · loss 3.2101 · 100 tokens/s · 39 s left · experts ▃▁▅█');
    expect(lines.map(line => line.split(' · ')[0])).toEqual([
      'step 1/50',
      'step 11/50',
      'step 21/50',
      'saved step 25',
      'step 25/50',
      '',
    ]);
  });

  it('on a terminal: one bar with the words of the last report, drawn again under what is said', () => {
    const { stream, text } = paper(true);
    let now = 0;
    const progress = createProgress({ total: 50, from: 10, stream, clock: () => now, silent: false, every: 10 });
    progress.update(report(20));
    progress.say('validation 3.0');
    now = 99;
    progress.update(report(21));
    progress.stop();
    const [start, empty, ...lines] = text().split('\r\x1b[K');
    expect([start, empty]).toEqual(['', `${'█'.repeat(5)}${'░'.repeat(19)} 10/50 · starting`]);
    expect(lines).toEqual([
      'validation 3.0\n',
      `${'█'.repeat(10)}${'░'.repeat(14)} 20/50 · loss 3.2101 · experts ▃▁▅█`,
      `${'█'.repeat(10)}${'░'.repeat(14)} 21/50 · loss 3.2101 · 1010 tokens/s · 3 s left · experts ▃▁▅█\n`,
    ]);
  });

  it('the bar gives way to the words, and the line to the terminal', () => {
    expect(barLine(3, 6, 'loss 1', 80)).toBe(`${'█'.repeat(12)}${'░'.repeat(12)} 3/6 · loss 1`);
    expect(barLine(3, 6, 'loss 1', 30)).toBe(`${'█'.repeat(8)}${'░'.repeat(8)} 3/6 · loss 1`);
    expect(barLine(3, 6, 'loss 1', 12)).toBe('███░░░ 3/6 ');
  });

  it('silent means silent', () => {
    const { stream, text } = paper(true);
    const progress = createProgress({ total: 5, from: 0, stream, clock: () => 0, silent: true, every: 1 });
    progress.update(report(1));
    progress.say('x');
    progress.stop();
    expect(text()).toBe('');
  });
});
