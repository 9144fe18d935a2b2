// The slider as a component of a Streamlit page; joined to slider.js.
export default function ({ data, parentElement }) {
  slider(parentElement.querySelector(".before-after"), data);
}
