import './style/index.css';
import { render } from 'preact';
import { App } from './app.tsx';
import { askSession } from './login/state.ts';

void askSession();
render(<App />, document.getElementById('app')!);
