// Wraps every test: a warning or error on the console fails it, and so does a tensor left behind.

import { afterEach, beforeEach, expect, vi } from 'vitest';
import { tensorCount } from './tensors.ts';

let before = 0;
let complaints: string[] = [];

beforeEach(() => {
  complaints = [];
  for (const level of ['warn', 'error'] as const) {
    vi.spyOn(console, level).mockImplementation((...words: unknown[]) => void complaints.push(words.join(' ')));
  }
  before = tensorCount();
});

afterEach(() => {
  vi.restoreAllMocks();
  expect(complaints, 'the code under test wrote a warning').toEqual([]);
  expect(tensorCount() - before, 'tensors left behind').toBe(0);
});
